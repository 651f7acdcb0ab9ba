//! Pages of metrics, and queries to a Prometheus server.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::exposition::{Sample, samples};
use super::{Place, http};
use crate::experiment::{HttpCall, MetricsCall, PrometheusCall, Span};

/// How many series are shown.
const SHOWN: usize = 20;

type Asked = Result<Value, String>;

/// Reads a page and adds the chosen series up.
pub(super) fn scrape(
    call: &MetricsCall,
    place: &Place<'_>,
) -> Result<impl Future<Output = Asked> + Send + 'static, String> {
    let page = http::request(&get(call.url.clone(), None, call.timeout), place)?;
    let metric = call.metric.clone();
    let wanted: Vec<(String, String)> = call
        .labels
        .iter()
        .map(|(name, value)| (name.clone(), place.variables.fill_text(value)))
        .collect();
    Ok(async move {
        let reply = page.await?;
        let text = page_of(&reply)?;
        let mut found = samples(text, &metric);
        found.retain(|sample| {
            wanted.iter().all(|(name, value)| sample.labels.get(name) == Some(value))
        });
        if found.is_empty() && !text.lines().any(|line| line.starts_with(&metric)) {
            return Err(format!("the page has no metric `{metric}`"));
        }
        Ok(summary(&found))
    })
}

/// Asks a Prometheus server.
pub(super) fn query(
    call: &PrometheusCall,
    place: &Place<'_>,
) -> Result<impl Future<Output = Asked> + Send + 'static, String> {
    let server = place.variables.fill_text(&call.url);
    // What is filled in already is not to be filled in again.
    let url = format!("{}/api/v1/query", server.trim_end_matches('/')).replace('$', "$$");
    let arguments = json!({ "query": call.query });
    let reply = http::request(&get(url, Some(arguments), call.timeout), place)?;
    Ok(async move { answer(&reply.await?) })
}

fn get(url: String, arguments: Option<Value>, timeout: Span) -> HttpCall {
    HttpCall {
        url,
        method: "GET".into(),
        headers: IndexMap::new(),
        arguments,
        timeout,
        verify_tls: true,
        max_retries: 0,
    }
}

fn page_of(reply: &Value) -> Result<&str, String> {
    let status = reply["status"].as_u64().unwrap_or_default();
    match (status, reply["body"].as_str()) {
        (200, Some(text)) => Ok(text),
        (200, None) => Err("the page is JSON, not metrics in text form".into()),
        _ => Err(format!("the page was answered with status {status}")),
    }
}

/// What a Prometheus server answers, in the form of [`scrape`].
fn answer(reply: &Value) -> Asked {
    let parsed;
    let mut body = &reply["body"];
    // Some proxies in front say more in the content type than the probe looks for.
    if let Some(text) = body.as_str() {
        parsed = serde_json::from_str(text).unwrap_or_default();
        body = &parsed;
    }
    if body["status"] != "success" {
        let status = &reply["status"];
        let why = body["error"].as_str().unwrap_or("it is not a Prometheus server");
        return Err(format!("the query was answered with status {status}: {why}"));
    }
    let result = &body["data"]["result"];
    let number = |pair: &Value| pair[1].as_str().and_then(|text| text.parse().ok());
    let series: Option<Vec<Sample>> = match body["data"]["resultType"].as_str() {
        Some("scalar") => {
            number(result).map(|value| vec![Sample { labels: BTreeMap::new(), value }])
        }
        Some("vector") => result.as_array().and_then(|all| {
            all.iter()
                .map(|one| {
                    let labels = one["metric"].as_object().into_iter().flatten();
                    let labels = labels
                        .map(|(name, value)| {
                            (name.clone(), value.as_str().unwrap_or_default().to_owned())
                        })
                        .collect();
                    number(&one["value"]).map(|value| Sample { labels, value })
                })
                .collect()
        }),
        _ => None,
    };
    let series =
        series.ok_or("the query gives neither a vector nor a number; choose an instant")?;
    Ok(summary(&series))
}

/// The sum, how many there are, and the first of them. No series have no sum.
fn summary(found: &[Sample]) -> Value {
    let number = |value: f64| {
        // Counters are whole numbers, and JSON has no infinities.
        if value.fract() == 0.0 && value.abs() < 9e15 {
            json!(value as i64)
        } else if value.is_finite() {
            json!(value)
        } else {
            json!(value.to_string())
        }
    };
    let sum = found.iter().map(|sample| sample.value).sum();
    let series: Vec<Value> = found
        .iter()
        .take(SHOWN)
        .map(|sample| json!({ "labels": sample.labels, "value": number(sample.value) }))
        .collect();
    let value = if found.is_empty() { Value::Null } else { number(sum) };
    json!({ "value": value, "count": found.len(), "series": series })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prometheus_server_is_understood() {
        let vector = json!({"status": 200, "body": {"status": "success", "data": {
            "resultType": "vector", "result": [
                {"metric": {"job": "a"}, "value": [1.5, "2"]},
                {"metric": {"job": "b"}, "value": [1.5, "0.5"]}]}}});
        let seen = answer(&vector).unwrap();
        assert_eq!((&seen["value"], &seen["count"]), (&json!(2.5), &json!(2)));
        assert_eq!(seen["series"][0], json!({"labels": {"job": "a"}, "value": 2}));
        let scalar = json!({"status": 200, "body": {"status": "success", "data": {
            "resultType": "scalar", "result": [1, "7"]}}});
        assert_eq!(answer(&scalar).unwrap()["value"], 7);
        let empty = json!({"status": 200, "body": {"status": "success", "data": {
            "resultType": "vector", "result": []}}});
        assert_eq!(answer(&empty).unwrap()["value"], Value::Null);
        let wrong = json!({"status": 400, "body": {"status": "error", "error": "parse error"}});
        assert!(answer(&wrong).unwrap_err().ends_with("status 400: parse error"));
        assert!(answer(&json!({"status": 200, "body": "hello"})).is_err());
    }

    #[test]
    fn series_are_added_up() {
        let page = "hits{a=\"1\"} 1\nhits{a=\"2\"} 2\n";
        assert_eq!(summary(&samples(page, "hits"))["value"], 3);
        assert_eq!(summary(&[])["value"], Value::Null);
        let reply = json!({"status": 404, "body": "no"});
        assert!(page_of(&reply).unwrap_err().contains("404"));
    }
}
