//! Judging a network: an attack proposes, the evaluator judges.
//!
//! Begin with [`Evaluator`] (what is asked and how it is run), then [`Protocol`] (what "robust" counts), [`check`]
//! (nothing an attack returns is believed) and [`Evaluation`] (what is told, `evaluation.json`). Every image has a
//! [`Verdict`], a line of `verdicts.jsonl`. What was found is written down at once, in a [`Ledger`]; figures are sums over
//! its records, so a killed evaluation continues and several processes share one ([`Conduct`], [`merge`]); ranks that know of each
//! other give their work to whoever is free (`together`).

mod agreement;
mod attacked;
pub mod audit;
pub mod check;
mod conduct;
mod crafted;
mod curve;
mod error;
mod evaluator;
mod examples;
mod figures;
mod flag;
mod header;
mod judge;
mod ledger;
mod merge;
mod nearest;
mod probe;
pub(crate) mod record;
mod report;
mod share;
mod tally;
mod together;
mod verdict;
mod wilson;

pub use agreement::Agreement;
pub use conduct::{Conduct, Distances, Looks};
pub use crafted::Crafted;
pub use curve::{AttackFigures, Figures};
pub use error::{EvaluateError, ProposalFault};
pub use evaluator::{Evaluator, Observer, Protocol, Silent, Subject};
pub use examples::{Examples, Samples};
pub use flag::{AT_CHANCE, Flag, Level};
pub(crate) use header::hex;
pub use header::{AttackHeader, Difference, Fingerprint, Header};
pub use judge::judge;
pub use ledger::{LEDGER, Ledger};
pub use merge::{Merged, merge};
pub use record::{Broken, Clean, Outcome, Probed, Record};
pub use report::{
    AlongReport, AttackReport, ClassReport, DistanceReport, Evaluation, ThreatReport, branch_name,
};
pub use share::Share;
pub use verdict::Verdict;
pub use wilson::{Interval, Proportion};
