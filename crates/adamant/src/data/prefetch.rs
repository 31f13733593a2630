//! Batches made ahead on a thread of their own, so that the compute threads never wait for decoding.

use std::panic;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::error::DataError;
use super::loader::{Loader, Position};
use crate::image::Batch;

/// Batches that may wait: enough to cover one slow image, few enough to cost no memory that matters.
const WAITING: usize = 3;

/// A batch and the place it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefetched {
    /// Its epoch and step.
    pub position: Position,
    /// The batch, equal to what [`Loader::batch`] gives for the position.
    pub batch: Batch,
}

/// Batches in order; ends after the last epoch or after the first error.
#[derive(Debug)]
pub struct Prefetch {
    receiver: Option<Receiver<Result<Prefetched, DataError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    pub(super) fn start(loader: Loader, start: Position, epochs: u32) -> Self {
        let (sender, receiver) = sync_channel(WAITING);
        let thread = thread::Builder::new()
            .name("prefetch".to_owned())
            .spawn(move || produce(&loader, start, epochs, &sender))
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
            let made =
                loader.batch_of(&order, position).map(|batch| Prefetched { position, batch });
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
