//! How an evaluation is carried out, as opposed to what it asks: none of this makes an image stand.

use super::audit::Audit;
use super::{Fingerprint, Flag, Ledger, Share};
use collective::{Collective, Solo};

/// How an evaluation is carried out; the default keeps nothing and judges all images.
#[derive(Debug)]
pub struct Conduct<'a> {
    /// Who judges together: every rank calls with the same settings and has the figures of all.
    pub ranks: &'a dyn Collective,
    /// Where verdicts are written down as they fall; a resumed one says what is done already.
    pub ledger: Ledger,
    /// Which images are judged here.
    pub share: Share,
    /// Whether searches are looked at on their way.
    pub looks: Looks,
    /// Whether searches for the nearest adversarial image go on to find it.
    pub distances: Distances,
    /// How the evaluation doubts itself.
    pub audit: Option<Audit>,
    /// Doubts that are known beforehand; the ledger keeps them, so that merged parts have them too.
    pub doubts: Vec<Flag>,
    /// What is judged, by content: what a resumed ledger is held against.
    pub fingerprint: Fingerprint,
}

impl Default for Conduct<'_> {
    fn default() -> Self {
        Self {
            ranks: &Solo,
            ledger: Ledger::in_memory(),
            share: Share::default(),
            looks: Looks::End,
            distances: Distances::Ignored,
            audit: None,
            doubts: Vec::new(),
            fingerprint: Fingerprint::default(),
        }
    }
}

/// What becomes of attacks that look for the nearest adversarial image (FAB, DeepFool, Carlini & Wagner).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distances {
    /// They end at the first image within epsilon, as other attacks do.
    #[default]
    Ignored,
    /// They attack every image that is right as it is, broken or not, whatever epsilon is, and each distance is told.
    Told,
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
