//! The edge of the responder: two addresses, one for callers and one for whoever sets the rules.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::forward::{collect, forward};
use super::rules::{RuleSet, Told};

/// Connections at a time and address; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// How long a connection may say nothing, or a call take to arrive.
const ARRIVES: Duration = Duration::from_mins(1);
/// Before the next try to accept, where the process has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// The service in front of which the responder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Host and port.
    pub(super) authority: String,
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
        let bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(name)) if bare && !name.as_str().contains('@') => {
                let port = name.port_u16().unwrap_or(80);
                Ok(Self { authority: format!("{}:{port}", name.host()) })
            }
            _ => Err("must be http://HOST:PORT, without a path; callers' paths are kept".into()),
        }
    }
}

/// Why the responder cannot answer.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}: {source}; is another process there?")]
pub struct RespondError {
    address: SocketAddr,
    source: io::Error,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    matched: AtomicU64,
    changed: AtomicU64,
}

/// Rules, and what they did. Whoever asked under rules that have been replaced counts there.
#[derive(Debug, Default)]
struct InForce {
    rules: RuleSet,
    counts: Arc<Counts>,
}

/// Answers callers as the rules say, and else as the service does.
#[derive(Debug)]
pub struct Responder {
    upstream: Option<Upstream>,
    in_force: Mutex<Arc<InForce>>,
}

type Answer = Response<Full<Bytes>>;

impl Responder {
    /// With rules for a start; without a service, what no rule answers is 502.
    pub fn new(upstream: Option<Upstream>, rules: RuleSet) -> Arc<Self> {
        let in_force = Arc::new(InForce { rules, counts: Arc::default() });
        Arc::new(Self { upstream, in_force: Mutex::new(in_force) })
    }

    /// Answers callers at `listen`, and whoever sets the rules at `control`, until it is dropped.
    ///
    /// # Errors
    /// If one of the addresses cannot be listened on.
    pub async fn serve(
        self: Arc<Self>,
        listen: SocketAddr,
        control: SocketAddr,
    ) -> Result<Infallible, RespondError> {
        let bind = async |address| {
            TcpListener::bind(address).await.map_err(|source| RespondError { address, source })
        };
        let (calls, controls) = (bind(listen).await?, bind(control).await?);
        Ok(self.serve_on(calls, controls).await)
    }

    async fn serve_on(self: Arc<Self>, calls: TcpListener, controls: TcpListener) -> Infallible {
        let controlled = Arc::clone(&self);
        tokio::select! {
            never = accept(calls, move |call| Arc::clone(&self).call(call)) => never,
            never = accept(controls, move |call| Arc::clone(&controlled).control(call)) => never,
        }
    }

    fn in_force(&self) -> MutexGuard<'_, Arc<InForce>> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(self: Arc<Self>, call: Request<Incoming>) -> Answer {
        let call = match whole(call).await {
            Ok(call) => call,
            Err(refused) => return refused,
        };
        let now = Arc::clone(&self.in_force());
        now.counts.requests.fetch_add(1, Relaxed);
        let rule = now.rules.find(call.uri().path(), call.body());
        if rule.is_some() {
            now.counts.matched.fetch_add(1, Relaxed);
        }
        if let Some(told) = rule.and_then(|rule| rule.answer()) {
            now.counts.changed.fetch_add(1, Relaxed);
            return made_up(told);
        }
        let Some(upstream) = &self.upstream else {
            let why = "no rule answers this call, and there is no --upstream to ask";
            return plain(StatusCode::BAD_GATEWAY, why);
        };
        let answer = match forward(upstream, call).await {
            Ok(answer) => answer,
            Err(error) => return plain(StatusCode::BAD_GATEWAY, &error.to_string()),
        };
        let (mut parts, truth) = answer.into_parts();
        // Rules that ended meanwhile change nothing any more.
        let rule = rule.filter(|_| Arc::ptr_eq(&now, &self.in_force()));
        let Some(told) = rule.and_then(|rule| rule.distort(&truth)) else {
            return Response::from_parts(parts, Full::new(truth));
        };
        now.counts.changed.fetch_add(1, Relaxed);
        parts.headers.remove(CONTENT_LENGTH);
        Response::from_parts(parts, Full::new(told.into()))
    }

    async fn control(self: Arc<Self>, call: Request<Incoming>) -> Answer {
        let call = match whole(call).await {
            Ok(call) => call,
            Err(refused) => return refused,
        };
        match (call.method(), call.uri().path()) {
            (&Method::GET, "/") => json_answer(StatusCode::OK, &self.state()),
            (&Method::PUT, "/rules") => self.replace(call.body()),
            (&Method::DELETE, "/rules") => {
                let mut in_force = self.in_force();
                let counts = Arc::clone(&in_force.counts);
                *in_force = Arc::new(InForce { rules: RuleSet::default(), counts });
                plain(StatusCode::NO_CONTENT, "")
            }
            _ => plain(StatusCode::NOT_FOUND, "here are GET /, PUT /rules and DELETE /rules"),
        }
    }

    fn replace(&self, rules: &Bytes) -> Answer {
        let Ok(text) = std::str::from_utf8(rules) else {
            return plain(StatusCode::UNPROCESSABLE_ENTITY, "rules are YAML or JSON in UTF-8");
        };
        match RuleSet::parse(text, Path::new("rules")) {
            Ok(rules) => {
                *self.in_force() = Arc::new(InForce { rules, counts: Arc::default() });
                plain(StatusCode::NO_CONTENT, "")
            }
            Err(error) => plain(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
        }
    }

    fn state(&self) -> Value {
        let now = Arc::clone(&self.in_force());
        json!({
            "requests": now.counts.requests.load(Relaxed),
            "matched": now.counts.matched.load(Relaxed),
            "changed": now.counts.changed.load(Relaxed),
            "rules": now.rules.shown(),
        })
    }
}

async fn accept<F, A>(listener: TcpListener, answer: F) -> Infallible
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&room).acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            sleep(EXHAUSTED).await;
            continue;
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |call| {
                let answer = answer(call);
                async { Ok::<_, Infallible>(answer.await) }
            });
            let mut server = Builder::new();
            server.preserve_header_case(true).auto_date_header(false);
            server.timer(TokioTimer::new()).header_read_timeout(ARRIVES);
            // A caller who goes away, or speaks no HTTP, is that caller's business.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The call with its body, or what to say if that does not come or is too long.
async fn whole(call: Request<Incoming>) -> Result<Request<Bytes>, Answer> {
    let (parts, body) = call.into_parts();
    match timeout(ARRIVES, collect(body)).await {
        Ok(Ok(body)) => Ok(Request::from_parts(parts, body)),
        Ok(Err(error)) => {
            let why = format!("read the call: {error}; at most 4 MiB are read");
            Err(plain(StatusCode::PAYLOAD_TOO_LARGE, &why))
        }
        Err(_) => Err(plain(StatusCode::REQUEST_TIMEOUT, "the call did not arrive in a minute")),
    }
}

fn made_up(told: &Told) -> Answer {
    let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::OK);
    match &told.body {
        Value::Null => plain(status, ""),
        Value::String(text) => plain(status, text),
        body => json_answer(status, body),
    }
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    typed(status, body.to_string(), "application/json")
}

fn plain(status: StatusCode, text: &str) -> Answer {
    typed(status, text.to_owned(), "text/plain; charset=utf-8")
}

fn typed(status: StatusCode, body: String, kind: &'static str) -> Answer {
    let empty = body.is_empty();
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    if !empty {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    answer
}

#[cfg(test)]
mod tests;
