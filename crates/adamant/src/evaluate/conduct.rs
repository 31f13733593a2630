//! How an evaluation is carried out, as opposed to what it asks: none of this changes a verdict.

use super::audit::Audit;
use super::{Fingerprint, Ledger, Share};

/// How an evaluation is carried out; the default keeps nothing and judges all images.
#[derive(Debug, Default)]
pub struct Conduct {
    /// Where verdicts are written down as they fall; a resumed one says what is done already.
    pub ledger: Ledger,
    /// Which images are judged here.
    pub share: Share,
    /// Whether searches are looked at on their way.
    pub looks: Looks,
    /// How the evaluation doubts itself.
    pub audit: Option<Audit>,
    /// What is judged, by content: what a resumed ledger is held against.
    pub fingerprint: Fingerprint,
}

/// When the judge looks at a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Looks {
    /// At its end.
    #[default]
    End,
    /// Also at its milestones: one long PGD gives the accuracy after 10, 20, ... steps too.
    Along,
}
