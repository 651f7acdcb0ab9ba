//! A stand-in for a container engine with one container, which runs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Larger than any process's number: the kernel gives none above 2^22.
const NO_PROCESS: u32 = 5_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Running,
    Paused,
    Stopped,
}

/// The engine; its thread ends with this process.
#[derive(Debug, Clone)]
pub(crate) struct Engine(Arc<Mutex<Container>>);

impl Engine {
    pub(crate) fn listen(socket: &Path) -> Self {
        let engine = Self(Arc::new(Mutex::new(Container::Running)));
        let (listener, answering) = (UnixListener::bind(socket).unwrap(), engine.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who is killed while asking hears no answer.
                let _ = answering.answer(&stream);
            }
        });
        engine
    }

    /// What the container does, in words.
    pub(crate) fn container(&self) -> String {
        format!("{:?}", *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, mut stream: &UnixStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        let Some(request) = lines.next().transpose()? else { return Ok(()) };
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut container = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let target = request.split(' ').nth(1).unwrap_or_default();
        let what = target.split('?').next().unwrap_or_default().rsplit('/').next();
        let mut body = String::new();
        *container = match what.unwrap_or_default() {
            "pause" => Container::Paused,
            "stop" => Container::Stopped,
            "unpause" | "start" => Container::Running,
            _ => {
                let (running, paused) =
                    (*container != Container::Stopped, *container == Container::Paused);
                let pid = if running { NO_PROCESS } else { 0 };
                let state = serde_json::json!({
                    "Status": if running { "running" } else { "exited" }, "Running": running,
                    "Paused": paused, "Pid": pid, "ExitCode": 0, "OOMKilled": false,
                });
                body = serde_json::json!({"Id": "f00d", "RestartCount": 0, "State": state})
                    .to_string();
                *container
            }
        };
        let status = if body.is_empty() { "204 No Content" } else { "200 OK" };
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }
}
