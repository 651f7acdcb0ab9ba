//! The log of a container, copied as it comes.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{MemfdFlags, memfd_create};
use tokio::sync::Notify;

use super::ask::wait;
use super::container::{self, WHOM};
use super::error::ServiceError;
use super::log_stream::{Line, LogStream};

/// The pause before a log is asked for again; it doubles up to [`AGAIN_AT_MOST`].
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_AT_MOST: Duration = Duration::from_secs(1);
/// The most of a log that is kept, in bytes.
const KEPT: u64 = 256 << 20;
/// More lines than are written in the same nanosecond.
const AT_ONCE: u32 = 64;
/// How long the engine may take to say how far the log goes when a run begins.
const FIRST: Duration = Duration::from_secs(5);

/// The log of a container from a moment on. It is kept in memory, where full and failing disks do
/// not reach it, and is gone with this process.
#[derive(Debug)]
pub struct ContainerLog {
    which: Which,
    path: PathBuf,
    shared: Arc<Shared>,
    follower: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Which {
    name: String,
    socket: PathBuf,
}

#[derive(Debug)]
struct Shared {
    copy: File,
    state: Mutex<State>,
    changed: Condvar,
    /// Somebody waits for what is new.
    wanted: Notify,
    stop: Notify,
}

/// How far the log was copied.
#[derive(Debug, Default, Clone)]
struct State {
    /// The latest time of a line that was copied, and how many lines have it.
    last: Option<(Timestamp, u64)>,
    /// The latest time of anything that came.
    reached: Option<Timestamp>,
    written: u64,
    /// Why nothing more is copied.
    failed: Option<String>,
}

impl ContainerLog {
    /// Follows what a container writes from now on, also when it is started again. It need not
    /// exist yet.
    pub fn follow(name: &str, socket: &Path) -> io::Result<Self> {
        let which = Which { name: name.to_owned(), socket: socket.to_owned() };
        let copy = File::from(memfd_create("container-log", MemfdFlags::CLOEXEC)?);
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd()).into();
        // Without an answer, what was written before now does not count.
        let last = which.end(FIRST).unwrap_or_else(|_| Some((Timestamp::now(), 0)));
        let reached = last.map(|(at, _)| at);
        let shared = Arc::new(Shared {
            copy,
            state: Mutex::new(State { last, reached, ..State::default() }),
            changed: Condvar::new(),
            wanted: Notify::new(),
            stop: Notify::new(),
        });
        let (theirs, of) = (Arc::clone(&shared), which.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let follower = thread::Builder::new()
            .name("container-log".into())
            .spawn(move || runtime.block_on(theirs.keep_copying(&of)))?;
        Ok(Self { which, path, shared, follower: Some(follower) })
    }

    /// The container's name or id.
    pub fn name(&self) -> &str {
        &self.which.name
    }

    /// The engine's socket.
    pub fn socket(&self) -> &Path {
        &self.which.socket
    }

    /// Where its lines are, without their times.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns once all is copied that the engine had when this was called.
    pub fn catch_up(&self, within: Duration) -> Result<(), ServiceError> {
        let end = self.which.end(within)?;
        self.shared.wanted.notify_one();
        let behind = |state: &mut State| state.failed.is_none() && !state.has(end);
        let state = self.shared.changed.wait_timeout_while(self.shared.lock(), within, behind);
        let (state, _) = state.unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            Some(why) => Err(self.which.failed(why.clone())),
            None if state.has(end) => Ok(()),
            None => Err(self.which.failed(format!("its end did not come within {within:?}"))),
        }
    }
}

impl Drop for ContainerLog {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        let _ = self.follower.take().map(JoinHandle::join);
    }
}

impl Which {
    /// The time of the newest line and how many whole lines have it, if there is any.
    fn end(&self, within: Duration) -> Result<Option<(Timestamp, u64)>, ServiceError> {
        let read = async {
            let (mut answer, mut stream) = self.open(&format!("&tail={AT_ONCE}")).await?;
            let mut lines = Vec::new();
            while let Some(bytes) = answer.next().await? {
                let more = stream.add(&bytes);
                lines.extend(more.map_err(|why| self.failed(why))?);
            }
            let with = |at| lines.iter().filter(|line| line.at == Some(at)).count();
            Ok(stream.reached().map(|at| (at, with(at) as u64)))
        };
        wait(WHOM, async {
            let silent = ServiceError::Silent { whom: WHOM, seconds: within.as_secs().max(1) };
            tokio::time::timeout(within, read).await.unwrap_or(Err(silent))
        })
    }

    async fn open(&self, part: &str) -> Result<(container::Answer, LogStream), ServiceError> {
        let Self { name, socket } = self;
        let framed = !container::has_terminal(name, socket).await?;
        let query = format!("stdout=1&stderr=1&timestamps=1{part}");
        let answer = container::open_log(name, socket, &query).await?;
        Ok((answer, LogStream::new(framed)))
    }

    fn failed(&self, why: String) -> ServiceError {
        ServiceError::Log { name: self.name.clone(), why }
    }
}

impl State {
    /// Whether all is copied up to so many lines of this time.
    fn has(&self, end: Option<(Timestamp, u64)>) -> bool {
        match end {
            None => true,
            Some((at, 0)) => self.reached >= Some(at),
            end => self.last >= end,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_copying(&self, of: &Which) {
        let stop = self.stop.notified();
        tokio::pin!(stop);
        let mut pause = AGAIN;
        loop {
            let before = self.lock().written;
            let copied = tokio::select! {
                () = &mut stop => return,
                copied = self.copy(of) => copied,
            };
            if let Err(Stop(why)) = copied {
                self.lock().failed = Some(why);
                self.changed.notify_all();
                return;
            }
            pause = if self.lock().written > before { AGAIN } else { pause };
            tokio::select! {
                () = &mut stop => return,
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = pause.saturating_mul(2).min(AGAIN_AT_MOST);
        }
    }

    /// Copies until the engine ends it, as it does when the container ends. Whatever the reason,
    /// it is asked again.
    async fn copy(&self, of: &Which) -> Result<(), Stop> {
        let mut resumed = self.lock().last;
        let from = resumed.map_or_else(String::new, |(at, _)| since(at));
        let Ok((mut answer, mut stream)) = of.open(&format!("&follow=1{from}")).await else {
            return Ok(());
        };
        // What an engine cuts in the middle comes whole the next time.
        while let Ok(Some(bytes)) = answer.next().await {
            let Ok(lines) = stream.add(&bytes) else { return Ok(()) };
            for line in lines.iter().filter(|line| is_new(line, &mut resumed)) {
                self.keep(line)?;
            }
            let mut state = self.lock();
            state.reached = state.reached.max(stream.reached());
            drop(state);
            self.changed.notify_all();
        }
        Ok(())
    }

    fn keep(&self, line: &Line) -> Result<(), Stop> {
        let mut state = self.lock();
        if state.written > KEPT {
            return Err(Stop(format!("it wrote more than {} MiB in this run", KEPT >> 20)));
        }
        let mut whole = line.text.clone();
        whole.push(b'\n');
        let written = (&self.copy).write_all(&whole);
        written.map_err(|error| Stop(format!("keep its lines: {error}")))?;
        state.written += whole.len() as u64;
        state.last = match (state.last, line.at) {
            (Some((last, lines)), Some(at)) if at == last => Some((at, lines + 1)),
            (Some((last, lines)), Some(at)) if at < last => Some((last, lines)),
            (_, Some(at)) => Some((at, 1)),
            (last, None) => last,
        };
        Ok(())
    }
}

/// Nothing more can be copied.
struct Stop(String);

/// Whether a line is none of those that were copied before the log was asked for again.
fn is_new(line: &Line, resumed: &mut Option<(Timestamp, u64)>) -> bool {
    match (line.at, resumed) {
        (Some(at), Some((last, _))) if at < *last => false,
        (Some(at), Some((last, known))) if at == *last && *known > 0 => {
            *known -= 1;
            false
        }
        _ => true,
    }
}

/// The part of a query that asks for this time and later ones.
fn since(at: Timestamp) -> String {
    format!("&since={}.{:09}", at.as_second(), at.subsec_nanosecond().unsigned_abs())
}
