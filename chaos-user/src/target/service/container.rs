//! Containers, over the Docker API on a unix socket.

use std::path::Path;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::ask::wait;
use super::error::ServiceError;
use super::{ServiceCall, ServiceState, ServiceView};

pub(super) const WHOM: &str = "the container engine";
/// How long a container may take to end by itself, in seconds.
const GRACE: u32 = 5;
/// The most of an answer that is read, in bytes.
const ANSWER: usize = 4 << 20;

pub(super) fn look(name: &str, socket: &Path) -> Result<ServiceView, ServiceError> {
    let path = format!("/containers/{}/json", segment(name)?);
    let (status, answer) = wait(WHOM, exchange(socket, Method::GET, &path))?;
    if status != 200 {
        return Err(refused("look at", name, status, &answer));
    }
    let state = &answer["State"];
    let flag = |key: &str| state[key].as_bool().unwrap_or(false);
    let state_now = match (flag("Running"), flag("Paused")) {
        (true, true) => ServiceState::Paused,
        (true, false) => ServiceState::Running,
        (false, _) => ServiceState::Stopped,
    };
    if !state.is_object() {
        return Err(ServiceError::Answer { whom: WHOM, why: "it has no `State`".into() });
    }
    let pid = state["Pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0);
    let id = answer["Id"].as_str().unwrap_or_default().to_owned();
    let output = json!({
        "running": state_now != ServiceState::Stopped,
        "paused": state_now == ServiceState::Paused,
        "state": state["Status"],
        "pid": pid,
        "restarts": answer["RestartCount"],
        "exit_code": state["ExitCode"],
        "oom_killed": state["OOMKilled"],
        "health": state["Health"]["Status"],
    });
    let started = state["StartedAt"].as_str().map(Into::into);
    Ok(ServiceView { state: state_now, pid, started, output, id })
}

pub(super) fn ask(name: &str, socket: &Path, call: ServiceCall) -> Result<(), ServiceError> {
    let (what, query) = match call {
        ServiceCall::Start => ("start", String::new()),
        ServiceCall::Stop => ("stop", format!("?t={GRACE}")),
        ServiceCall::Kill => ("kill", "?signal=SIGKILL".to_owned()),
        ServiceCall::Pause => ("pause", String::new()),
        ServiceCall::Resume => ("unpause", String::new()),
        ServiceCall::Restart => ("restart", format!("?t={GRACE}")),
    };
    let path = format!("/containers/{}/{what}{query}", segment(name)?);
    match wait(WHOM, exchange(socket, Method::POST, &path))? {
        // 304: it is so already.
        (200..=299 | 304, _) => Ok(()),
        (status, answer) => Err(refused(what, name, status, &answer)),
    }
}

/// A name as a part of a path.
fn segment(name: &str) -> Result<&str, ServiceError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || !name.chars().all(plain) || name.starts_with('.') {
        return Err(ServiceError::Unknown { what: "container", name: name.to_owned() });
    }
    Ok(name)
}

fn refused(what: &'static str, name: &str, status: u16, answer: &Value) -> ServiceError {
    if status == 404 {
        return ServiceError::Unknown { what: "container", name: name.to_owned() };
    }
    let why = answer["message"].as_str().map_or_else(|| format!("status {status}"), Into::into);
    ServiceError::Refused { whom: WHOM, what, name: name.to_owned(), why }
}

/// Whether a container has a terminal.
pub(super) async fn has_terminal(name: &str, socket: &Path) -> Result<bool, ServiceError> {
    let path = format!("/containers/{}/json", segment(name)?);
    let (status, answer) = exchange(socket, Method::GET, &path).await?;
    if status != 200 {
        return Err(refused("look at", name, status, &answer));
    }
    Ok(answer["Config"]["Tty"].as_bool().unwrap_or(false))
}

/// Asks for the log of a container.
pub(super) async fn open_log(
    name: &str,
    socket: &Path,
    query: &str,
) -> Result<Answer, ServiceError> {
    let path = format!("/containers/{}/logs?{query}", segment(name)?);
    let answer = send(socket, Method::GET, &path).await?;
    if answer.status == 200 {
        return Ok(answer);
    }
    let status = answer.status;
    let said = answer.whole().await.unwrap_or_default();
    Err(refused("show the log of", name, status, &said))
}

/// One request on a connection of its own.
async fn exchange(socket: &Path, method: Method, path: &str) -> Result<(u16, Value), ServiceError> {
    let answer = send(socket, method, path).await?;
    Ok((answer.status, answer.whole().await?))
}

/// An answer that comes on a connection of its own, which ends with it.
pub(super) struct Answer {
    status: u16,
    body: Incoming,
    driver: JoinHandle<hyper::Result<()>>,
}

impl Answer {
    /// What comes next of the body.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ServiceError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(odd(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, which is JSON.
    async fn whole(mut self) -> Result<Value, ServiceError> {
        let body = Limited::new(&mut self.body, ANSWER).collect().await;
        let body = body.map_err(|error| odd(&*error))?.to_bytes();
        if body.is_empty() {
            return Ok(Value::Null);
        }
        let answer = serde_json::from_slice(&body).map_err(|error| odd(&error));
        // An error need not be JSON, if something else listens there.
        if self.status < 300 { answer } else { Ok(answer.unwrap_or_default()) }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn odd(error: &(dyn std::error::Error + Send + Sync)) -> ServiceError {
    ServiceError::Answer { whom: WHOM, why: error.to_string() }
}

async fn send(socket: &Path, method: Method, path: &str) -> Result<Answer, ServiceError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| ServiceError::Unreachable {
        whom: format!("{WHOM} at {}", socket.display()),
        why: error.to_string(),
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| odd(&error))?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", "localhost")
        .header("Connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| odd(&error))?;
    let response = sender.send_request(request).await.map_err(|error| odd(&error))?;
    let (status, body) = (response.status().as_u16(), response.into_body());
    Ok(Answer { status, body, driver })
}
