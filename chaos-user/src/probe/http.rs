//! HTTP requests, with the output that the Chaos Toolkit gives them.

use std::error::Error;
use std::net::SocketAddr;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};
use serde_json::{Map, Value, json};

use super::Place;
use crate::experiment::HttpCall;

/// The most of a body that is read, in bytes.
const BODY: usize = 16 << 20;

/// Prepares a request; the future does it, on a connection of its own.
pub(super) fn request(
    call: &HttpCall,
    place: &Place<'_>,
) -> Result<impl Future<Output = Result<Value, String>> + Send + 'static + use<>, String> {
    let variables = place.variables;
    let text = variables.fill_text(&call.url);
    let url = Url::parse(&text).map_err(|error| format!("`{text}` is not a URL: {error}"))?;
    let method = Method::from_bytes(call.method.as_bytes())
        .map_err(|_| format!("`{}` is not an HTTP method", call.method))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &call.headers {
        let value = plain(&variables.fill(value));
        let name = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("`{name}` is not a header name"))?;
        let value = HeaderValue::try_from(&value).map_err(|_| {
            format!("the value of the header `{name}` has characters it cannot have")
        })?;
        headers.insert(name, value);
    }
    let mut client = Client::builder()
        // A connection kept from before a fault would hide it.
        .pool_max_idle_per_host(0)
        .no_proxy()
        .timeout(call.timeout.into())
        .user_agent(concat!("chaos/", env!("CARGO_PKG_VERSION")))
        .danger_accept_invalid_certs(!call.verify_tls);
    if let Some(host) = url.host_str() {
        let addresses = (place.resolve)(host);
        if !addresses.is_empty() {
            let addresses: Vec<SocketAddr> =
                addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            client = client.resolve_to_addrs(host, &addresses);
        }
    }
    let client = client.build().map_err(|error| reason(&error))?;
    let arguments = call.arguments.as_ref().map(|arguments| variables.fill(arguments));
    let mut request = client.request(method.clone(), url).headers(headers.clone());
    request = match arguments {
        None | Some(Value::Null) => request,
        Some(arguments) if method == Method::GET => request.query(&pairs(&arguments)),
        Some(arguments)
            if headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json") =>
        {
            request.body(arguments.to_string())
        }
        Some(Value::String(body)) => request.body(body),
        Some(arguments) => request.form(&pairs(&arguments)),
    };
    let request = request.build().map_err(|error| reason(&error))?;
    let retries = call.max_retries;
    Ok(async move {
        let mut tried = 0;
        loop {
            let again = request.try_clone().filter(|_| tried < retries);
            let this = match again {
                Some(copy) => client.execute(copy).await,
                None => return read(client.execute(request).await.map_err(|e| reason(&e))?).await,
            };
            match this {
                Ok(response) => return read(response).await,
                Err(error) if error.is_connect() => tried += 1,
                Err(error) => return Err(reason(&error)),
            }
        }
    })
}

async fn read(mut response: reqwest::Response) -> Result<Value, String> {
    let status = response.status().as_u16();
    let headers: Map<String, Value> = response
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
        })
        .collect();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|t| t == "application/json");
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason(&error))? {
        if body.len() + chunk.len() > BODY {
            return Err(format!("the body is larger than {} MiB", BODY >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    let parsed = if is_json { serde_json::from_str(&text).ok() } else { None };
    let body = parsed.unwrap_or(Value::String(text));
    Ok(json!({ "status": status, "headers": headers, "body": body }))
}

/// Names and values of a query or a form.
fn pairs(arguments: &Value) -> Vec<(String, String)> {
    match arguments {
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| match value {
                Value::Array(items) => {
                    items.iter().map(|item| (key.clone(), plain(item))).collect()
                }
                value => vec![(key.clone(), plain(value))],
            })
            .collect(),
        other => vec![(plain(other), String::new())],
    }
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
