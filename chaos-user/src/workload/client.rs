//! One request and its answer.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use serde_json::{Map, Value, json};

use super::fill::Fill;
use super::payload::Payload;
use crate::experiment::{Observation, Step, Variables};

/// The most of an answer that is read, in bytes.
const ANSWER: usize = 1 << 20;

/// What came of a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// What came back, as a probe sees it.
    pub(super) seen: Observation,
    pub(super) status: Option<u16>,
    /// Whether it certainly never reached anybody.
    pub(super) unsent: bool,
}

/// A client for all requests of a workload; `resolve` knows the names of its surroundings.
pub(super) fn client<'a>(
    steps: impl Iterator<Item = &'a Step>,
    variables: &Variables,
    resolve: &dyn Fn(&str) -> Vec<IpAddr>,
) -> Result<Client, String> {
    let mut client = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("chaos/", env!("CARGO_PKG_VERSION")));
    for step in steps {
        // A host that depends on an earlier answer is looked up as usual.
        let Ok(url) = Url::parse(&variables.fill_text(&step.url)) else { continue };
        let Some(host) = url.host_str() else { continue };
        let known: Vec<SocketAddr> =
            resolve(host).into_iter().map(|address| SocketAddr::new(address, 0)).collect();
        if !known.is_empty() {
            client = client.resolve_to_addrs(host, &known);
        }
    }
    client.build().map_err(|error| reason(&error))
}

/// Sends a request and reads the answer.
pub(super) async fn send(
    client: &Client,
    step: &Step,
    variables: &Variables,
    payload: Option<&Payload>,
) -> Answer {
    let request = match request(client, step, variables, payload) {
        Ok(request) => request,
        Err(error) => return unusable(error),
    };
    match request.send().await {
        Ok(response) => read(response).await,
        Err(error) => {
            let unsent = error.is_connect() || error.is_builder();
            let seen = failed(reason(&error));
            Answer { seen, status: None, unsent }
        }
    }
}

fn request(
    client: &Client,
    step: &Step,
    variables: &Variables,
    payload: Option<&Payload>,
) -> Result<reqwest::RequestBuilder, String> {
    let text = variables.fill_text(&step.url);
    let url = Url::parse(&text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    let method = Method::from_bytes(step.method.as_bytes())
        .map_err(|_| format!("`{}` is not an HTTP method", step.method))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &step.headers {
        let value = plain(&variables.fill(value));
        let name = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("`{name}` is not a header name"))?;
        let value = HeaderValue::try_from(&value)
            .map_err(|_| format!("the value of `{name}` has characters it cannot have"))?;
        headers.insert(name, value);
    }
    let json = !headers.contains_key(CONTENT_TYPE);
    let request = client.request(method, url).headers(headers).timeout(step.timeout.into());
    let as_json = |request: reqwest::RequestBuilder| {
        if json { request.header(CONTENT_TYPE, "application/json") } else { request }
    };
    if let Some(size) = step.size {
        let body = reqwest::Body::wrap(Fill::new(size, step.chunked));
        return Ok(as_json(request).body(body));
    }
    if let Some(Payload::Raw { bytes, .. }) = payload {
        return Ok(as_json(request).body(bytes.clone()));
    }
    Ok(match &step.body {
        None => request,
        Some(body) => match variables.fill(body) {
            Value::String(text) if !json => request.body(text),
            value => as_json(request).body(value.to_string()),
        },
    })
}

async fn read(mut response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let headers: Map<String, Value> = response
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
        })
        .collect();
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                let seen = failed(format!("the answer is larger than {} KiB", ANSWER >> 10));
                return Answer { seen, status: Some(status), unsent: false };
            }
            Ok(None) => break,
            Err(error) => {
                let seen = failed(format!("status {status}, then {}", reason(&error)));
                return Answer { seen, status: None, unsent: false };
            }
        }
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let parsed = if is_json { serde_json::from_str(&text).ok() } else { None };
    let body = parsed.unwrap_or(Value::String(text));
    let output = json!({ "status": status, "headers": headers, "body": body });
    let seen = Observation { output, error: None, took: 0 };
    Answer { seen, status: Some(status), unsent: false }
}

fn unusable(error: String) -> Answer {
    Answer { seen: failed(error), status: None, unsent: true }
}

fn failed(error: String) -> Observation {
    Observation { output: Value::Null, error: Some(error), took: 0 }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The innermost cause, which is what the user can do something about.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
