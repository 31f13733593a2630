//! Batches made ahead on threads of their own, so that the compute threads never wait for decoding.
//!
//! The threads run at low priority: while a step computes on all cores they take what it leaves, and while it waits for
//! them they have the cores for themselves. What they have made and not handed over is bounded in bytes.

use std::panic;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::error::DataError;
use super::loader::{Loaded, Loader, Position, Skipped};
use crate::image::Batch;

/// How far ahead batches are made, and by how many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefetchSettings {
    /// Threads that decode; 0 for as many as compute.
    pub workers: usize,
    /// Bytes of batches under way and waiting; one batch is made ahead even if it alone is larger.
    pub bytes: usize,
}

impl Default for PrefetchSettings {
    fn default() -> Self {
        Self { workers: 0, bytes: 512 << 20 }
    }
}

/// Batches that wait however small they are: enough to cover one slow image.
const MOST_WAITING: usize = 4;

/// A batch and the place it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefetched {
    /// Its epoch and step.
    pub position: Position,
    /// The batch, equal to what [`Loader::batch`] gives for the position.
    pub batch: Batch,
    /// As [`Loaded::parts`].
    pub parts: Vec<usize>,
    /// What could not be read and is missing from it.
    pub skipped: Vec<Skipped>,
}

/// Batches in order; ends after the last epoch or after the first error.
#[derive(Debug)]
pub struct Prefetch {
    receiver: Option<Receiver<Result<Prefetched, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    pub(super) fn start(loader: Loader, start: Position, epochs: u32) -> Self {
        let PrefetchSettings { workers, bytes } = loader.settings().prefetch;
        let batch = loader.own_images() * loader.dataset().shape().len() * 4;
        // One of the batches that fit is the one being made.
        let waiting = (bytes / batch).clamp(1, MOST_WAITING) - 1;
        let (sender, receiver) = sync_channel(waiting);
        let workers = if workers == 0 { rayon::current_num_threads() } else { workers };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .thread_name(|worker| format!("decode-{worker}"))
            .start_handler(|_| engine::lower_thread_priority())
            .build()
            .expect("the system can start a few more threads");
        let thread = thread::Builder::new()
            .name("prefetch".to_owned())
            .spawn(move || pool.install(|| produce(&loader, start, epochs, &sender)))
            .expect("the system can start one more thread");
        Self { receiver: Some(receiver), thread: Some(thread) }
    }
}

fn produce(
    loader: &Loader,
    start: Position,
    epochs: u32,
    sender: &SyncSender<Result<Prefetched, DataError>>,
) {
    for epoch in start.epoch..epochs {
        let order = loader.order(epoch);
        let first = if epoch == start.epoch { start.step } else { 0 };
        for step in first..loader.steps_per_epoch() {
            let position = Position { epoch, step };
            let made = loader.load_of(&order, position).map(|Loaded { batch, parts, skipped }| {
                Prefetched { position, batch, parts, skipped }
            });
            let failed = made.is_err();
            // The receiver is gone when training stopped early.
            if sender.send(made).is_err() || failed {
                return;
            }
        }
    }
}

impl Iterator for Prefetch {
    type Item = Result<Prefetched, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(item) = self.receiver.as_ref()?.recv() {
            return Some(item);
        }
        self.receiver = None;
        // A panic over there must not look like the end of the data.
        if let Some(Err(panicked)) = self.thread.take().map(JoinHandle::join) {
            panic::resume_unwind(panicked);
        }
        None
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // Closing the channel first lets a waiting producer end.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
