//! What can end a training run early.

use super::fault::Fault;
use super::precision::PrecisionKind;
use super::recipe_error::RecipeError;
use super::run::RunError;
use super::store::StoreError;
use crate::attack::AttackError;
use crate::data::DataError;
use crate::evaluate::EvaluateError;
use std::path::PathBuf;
use thiserror::Error;

/// What can end a training run early; its checkpoints stay as they are.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The recipe.
    #[error(transparent)]
    Recipe(Box<RecipeError>),
    /// The images.
    #[error(transparent)]
    Data(Box<DataError>),
    /// The network.
    #[error(transparent)]
    Network(Box<network::NetworkError>),
    /// A pass; a network whose folded weights overflow is refused here.
    #[error("step {step}: {source}")]
    Engine {
        /// Steps done before.
        step: u64,
        /// What happened.
        source: Box<engine::EngineError>,
    },
    /// The run's folder.
    #[error(transparent)]
    Run(Box<RunError>),
    /// A checkpoint on disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The judgement on held-out images.
    #[error("validation after step {step}: {source}")]
    Evaluate {
        /// Steps done.
        step: u64,
        /// What happened.
        source: Box<EvaluateError>,
    },
    /// Another rank.
    #[error(transparent)]
    Collective(#[from] collective::CollectiveError),
    /// Ranks that cannot share the work of a step equally.
    #[error(
        "training.workers is {workers}, which {ranks} ranks cannot share\n  \
         hint: start as many ranks as there are workers, or fewer by a power of two, or one; \
         --set training.workers={ranks} --allow-change training.workers gives each rank one, with other batch statistics"
    )]
    Deal {
        /// Workers of the run.
        workers: usize,
        /// Ranks there are.
        ranks: usize,
    },
    /// What ended the work of another rank.
    #[error("rank {rank}: {message}")]
    OtherRank {
        /// Which.
        rank: usize,
        /// What it says.
        message: String,
    },
    /// The adversary.
    #[error("step {step}: {source}")]
    Attack {
        /// Steps done before.
        step: u64,
        /// What happened.
        source: Box<AttackError>,
    },
    /// A loss, gradient or parameter is NaN or infinite, or the loss has exploded (G32).
    #[error(transparent)]
    NonFinite(Box<Fault>),
    /// Too many steps of one epoch had to be passed by.
    #[error(
        "{fault}\n  hint: {skipped} steps of this epoch were passed by already, the run does not recover"
    )]
    NoRecovery {
        /// The last of them.
        fault: Box<Fault>,
        /// How many there were.
        skipped: usize,
    },
    /// A signal asked for the end, and the checkpoint is written.
    #[error("interrupted after step {step}; continue with --resume")]
    Interrupted {
        /// Steps done.
        step: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
    /// A checkpoint whose every file is whole, but not of this run.
    #[error("{}: {message}", path.display())]
    Checkpoint {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// Images that no model may be chosen by (T45).
    #[error("training was given the {found} images of {name}, expected its training images")]
    NotTrainingImages {
        /// The data set.
        name: String,
        /// Its part.
        found: String,
    },
    /// The engine was built for another arithmetic than the recipe asks for.
    #[error("training.precision is {asked:?}, but the engine trains in {found:?}")]
    Precision {
        /// What the recipe says.
        asked: PrecisionKind,
        /// What the engine was built for.
        found: engine::Precision,
    },
}

/// The large ones are boxed: a step that goes well should not carry room for them.
macro_rules! boxed {
    ($($variant:ident: $error:ty),*) => {$(
        impl From<$error> for TrainError {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    )*};
}

boxed!(Recipe: RecipeError, Run: RunError, Data: DataError, Network: network::NetworkError);
