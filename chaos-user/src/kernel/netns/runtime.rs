//! Async tasks on a thread inside a namespace.

use std::future::Future;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A thread inside a namespace that runs async tasks. Dropping it cancels them and waits.
#[derive(Debug)]
pub struct NetNsRuntime {
    pub(super) handle: Handle,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) thread: Option<thread::JoinHandle<()>>,
}

impl NetNsRuntime {
    /// Runs a task inside. The handle can be awaited on any runtime.
    ///
    /// The runtime's own handle is not given out: its `spawn_blocking` would start threads in the
    /// caller's namespace. Called from a task that runs inside, it starts them inside.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(task)
    }
}

impl Drop for NetNsRuntime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was its task's, which tokio already reported to its awaiter.
            let _ = thread.join();
        }
    }
}
