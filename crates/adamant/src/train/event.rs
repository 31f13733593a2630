//! What happens in a run, and who hears of it.

use super::error::TrainError;
use super::record::{Best, MissingMetrics, StepMetrics, ValidationMetrics};
use super::store::StoreError;
use std::path::Path;

/// What happens in a run, told to whoever watches; the library prints nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run begins or goes on.
    Begin {
        /// Steps done before.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Learnt numbers of the network.
        parameters: usize,
    },
    /// A checkpoint that cannot be used; the one before it is tried.
    Damaged(&'a StoreError),
    /// A step is done.
    Step(&'a StepMetrics),
    /// A validation begins.
    Validating,
    /// A validation is done, and it is the best so far or not.
    Validated {
        /// Its figures.
        metrics: &'a ValidationMetrics,
        /// The best so far.
        best: &'a Best,
    },
    /// A checkpoint is on disk.
    Checkpoint {
        /// Its folder.
        path: &'a Path,
    },
    /// The disk refuses a checkpoint, the best model or metrics; training goes on, the next try comes soon.
    Refused {
        /// What it says.
        error: &'a TrainError,
    },
    /// Images could not be read; they are tried again.
    Unreadable {
        /// What the system says.
        error: &'a TrainError,
    },
    /// Images that a step goes without, because they are damaged and the recipe says to go on.
    Missing {
        /// The line of metrics, which names them.
        metrics: &'a MissingMetrics,
    },
    /// A step's numbers went wrong, and the run is back at a checkpoint; the step will be passed by.
    RolledBack {
        /// What went wrong.
        fault: &'a TrainError,
        /// Step of the checkpoint.
        step: u64,
    },
}

/// Who watches a run.
pub trait Watcher {
    /// Something happened.
    fn event(&mut self, event: Event<'_>);
}

impl<F: FnMut(Event<'_>)> Watcher for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}
