//! Judging a network: an attack proposes, the evaluator judges.
//!
//! Begin with [`Evaluator`] (what is asked and how it is run), then [`Protocol`] (what "robust" counts), [`check`]
//! (nothing an attack returns is believed) and [`Evaluation`] (what is told, `evaluation.json`). Every image has a
//! [`Verdict`], a line of `verdicts.jsonl`.

mod attacked;
pub mod check;
mod crafted;
mod error;
mod evaluator;
mod examples;
mod flag;
mod judge;
mod probe;
mod report;
mod verdict;
mod wilson;

pub use crafted::Crafted;
pub use error::{EvaluateError, ProposalFault};
pub use evaluator::{Evaluator, Observer, Protocol, Silent, Subject};
pub use examples::{Examples, Samples};
pub use flag::{Flag, Level};
pub use judge::judge;
pub use report::{AttackReport, Evaluation, ThreatReport, branch_name};
pub use verdict::Verdict;
pub use wilson::{Interval, Proportion};
