//! What can go wrong when a network is judged; each message names the image or the attack.

use super::Difference;
use crate::attack::{AttackError, VictimError};
use crate::threat::Norm;
use network::Shape;
use thiserror::Error;

/// What can go wrong when a network is judged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The images do not fit the network.
    #[error(
        "the model takes images of {expected} (channels, height, width), the data has {found}\n  \
         hint: choose the data set the model was trained on with --data"
    )]
    Shape {
        /// What the network takes.
        expected: Shape,
        /// What the data has.
        found: Shape,
    },
    /// The two networks of an evaluation do not answer the same question.
    #[error(
        "the attacked network has {attacked} classes and input {attacked_input}, the judged one {judged} and \
         {judged_input}"
    )]
    Networks {
        /// Classes of the network the attack sees.
        attacked: usize,
        /// Its input.
        attacked_input: Shape,
        /// Classes of the judged network.
        judged: usize,
        /// Its input.
        judged_input: Shape,
    },
    /// An attack in low precision without the network in single precision.
    #[error(
        "attacks in {precision} need the attacked network in f32 too, for the images that stand\n  \
         hint: give it as Networks::reference"
    )]
    Reference {
        /// Precision of the attack.
        precision: &'static str,
    },
    /// More images were asked for than there are, or none.
    #[error("asked for {asked} images, the data set has {available}")]
    Samples {
        /// Images asked for.
        asked: usize,
        /// Images there are.
        available: usize,
    },
    /// Batches must hold something.
    #[error("the batch size is 0, expected at least 1")]
    BatchSize,
    /// A label the network cannot predict.
    #[error("image {index} has label {label}, the model has {classes} classes")]
    Label {
        /// Position in the data set.
        index: u64,
        /// Its label.
        label: u32,
        /// Classes of the judged network.
        classes: usize,
    },
    /// The images could not be read.
    #[error("reading images {first} and following failed")]
    Read {
        /// Position of the first image asked for.
        first: usize,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// The judged network could not answer.
    #[error(transparent)]
    Judge(#[from] VictimError),
    /// The attack failed.
    #[error(transparent)]
    Attack(#[from] AttackError),
    /// The judged network's answer is no prediction.
    #[error(
        "the model's logits for image {index} are not finite\n  \
         hint: the weights may have diverged in training"
    )]
    NonFiniteLogits {
        /// Position in the data set.
        index: u64,
    },
    /// An attack returned what no attack may return.
    #[error("attack {attack}: {fault}")]
    Proposal {
        /// The attack's name.
        attack: String,
        /// What is wrong with its proposal.
        fault: ProposalFault,
    },
    /// A ledger stands where a new evaluation would begin.
    #[error(
        "{}: an evaluation was begun here\n  \
         hint: continue it with --resume, or name another folder", path.display()
    )]
    LedgerExists {
        /// The ledger.
        path: std::path::PathBuf,
    },
    /// Another process writes the ledger.
    #[error("{}: another process is writing this ledger", path.display())]
    LedgerInUse {
        /// The ledger.
        path: std::path::PathBuf,
    },
    /// A ledger is not what was written.
    #[error("{}: damaged, line {line} is {found}", path.display())]
    LedgerDamaged {
        /// The ledger.
        path: std::path::PathBuf,
        /// The first line at fault, from 1.
        line: usize,
        /// What is wrong with it.
        found: &'static str,
    },
    /// Records that do not make an evaluation.
    #[error("the ledger's records contradict each other: {found}")]
    LedgerContradicts {
        /// What is wrong.
        found: String,
    },
    /// The ledger belongs to another evaluation.
    #[error(
        "{}: the ledger is of another evaluation{}\n  \
         hint: repeat the settings it was begun with, or name another folder",
        path.display(), listed(differences)
    )]
    LedgerDiffers {
        /// The ledger.
        path: std::path::PathBuf,
        /// Every setting that differs.
        differences: Vec<Difference>,
    },
    /// Ledgers that are merged leave images without a verdict.
    #[error("{stage}: {missing} images have no verdict\n  hint: {hint}")]
    Incomplete {
        /// `clean` or the attack.
        stage: String,
        /// Images without a verdict.
        missing: usize,
        /// What to do.
        hint: &'static str,
    },
    /// No part of an evaluation.
    #[error("part is {found:?}, expected K/N with K from 1 to N, such as 1/2")]
    Share {
        /// What was written.
        found: String,
    },
    /// Another rank.
    #[error(transparent)]
    Collective(#[from] collective::CollectiveError),
    /// The evaluation could not be written.
    #[error("reading or writing {} failed", path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn listed(differences: &[Difference]) -> String {
    let line =
        |d: &Difference| format!("\n  {}: {} in the ledger, {} now", d.what, d.ledger, d.now);
    differences.iter().map(line).collect()
}

/// What can be wrong with the images an attack proposes.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ProposalFault {
    /// Not one image for each image, or images of another shape.
    #[error("proposed {found}, expected {expected}")]
    Shape {
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A pixel is NaN or infinite.
    #[error("image {index} has a pixel {value}, not a finite number")]
    NotFinite {
        /// Position in the data set.
        index: u64,
        /// The pixel.
        value: f32,
    },
    /// A pixel is no pixel.
    #[error("image {index} has a pixel {value}, outside [0, 1]")]
    PixelRange {
        /// Position in the data set.
        index: u64,
        /// The pixel.
        value: f32,
    },
    /// The perturbation is larger than the threat allows.
    #[error("image {index} is moved by {found:.7}, the threat allows {norm} up to {allowed}")]
    Ball {
        /// Position in the data set.
        index: u64,
        /// How size is measured.
        norm: Norm,
        /// Size of the perturbation.
        found: f64,
        /// Epsilon.
        allowed: f64,
    },
    /// A targeted attack wants what the image already is (T19, T25).
    #[error("the target of image {index} is its true class {label}")]
    Target {
        /// Position in the data set.
        index: u64,
        /// Label and target.
        label: u32,
    },
}
