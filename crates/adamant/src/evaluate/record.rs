//! The records of a ledger: what became of some images in one stage of an evaluation.

use super::Flag;
use serde::{Deserialize, Serialize};

/// What one piece of work found. Images are named by their place among all examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum Record {
    /// What the judge says of images as they are.
    Clean {
        /// One per image.
        outcomes: Vec<Clean>,
    },
    /// Whether images have an input gradient at all.
    Gradients {
        /// One per image.
        outcomes: Vec<Probed>,
    },
    /// What an attack did.
    Attack {
        /// Its place in the header.
        attack: usize,
        /// One per image.
        outcomes: Vec<Outcome>,
        /// Forward passes of one image, the judge's included.
        forward: u64,
        /// Backward passes of one image.
        backward: u64,
        /// Wall-clock time; 0 where nobody measured.
        seconds: f64,
    },
    /// Doubts that an audit raised.
    Audit {
        /// In the order of its checks.
        flags: Vec<Flag>,
    },
    /// All that was to be done here is done.
    Ended,
}

impl Record {
    /// The place of its stage in an evaluation: clean, gradients, attacks in their order, and what concerns no image last.
    pub(super) fn stage(&self) -> usize {
        match self {
            Self::Clean { .. } => CLEAN,
            Self::Gradients { .. } => GRADIENTS,
            Self::Attack { attack, .. } => ATTACKS + attack,
            Self::Audit { .. } | Self::Ended => usize::MAX,
        }
    }

    /// The images it tells of.
    pub(super) fn images(&self) -> Vec<usize> {
        match self {
            Self::Clean { outcomes } => outcomes.iter().map(|clean| clean.image).collect(),
            Self::Gradients { outcomes } => outcomes.iter().map(|probed| probed.image).collect(),
            Self::Attack { outcomes, .. } => outcomes.iter().map(|one| one.image).collect(),
            Self::Audit { .. } | Self::Ended => Vec::new(),
        }
    }
}

/// The places of stages: see [`Record::stage`].
pub(super) const CLEAN: usize = 0;
pub(super) const GRADIENTS: usize = 1;
/// Of the first attack.
pub(super) const ATTACKS: usize = 2;

/// An image as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clean {
    /// Its place among all examples.
    pub image: usize,
    /// Its position in the data set.
    pub index: u64,
    /// True class.
    pub label: u32,
    /// What the judged network says.
    pub prediction: u32,
}

/// Whether a gradient attack has anything to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Its place among all examples.
    pub image: usize,
    /// A finite gradient that is not zero everywhere.
    pub leads: bool,
}

/// An image after an attack, all its restarts included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its place among all examples.
    pub image: usize,
    /// What broke it, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
    /// The attack got what it wanted: a wrong class, or its target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reached: bool,
    /// At each milestone on the way, a letter: `r` right, `w` wrong, `t` as the attack wants it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub along: String,
    /// It stood an attack in another precision, and was attacked again in single precision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// How far away the nearest image is that the judge is wrong about, where distances are told and one was found.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "exact::optional")]
    pub distance: Option<f64>,
}

impl Outcome {
    /// Before any search.
    pub(super) fn open(image: usize) -> Self {
        Self {
            image,
            broken: None,
            reached: false,
            along: String::new(),
            again: false,
            distance: None,
        }
    }

    /// Whether it was right, or not as the attack wants it, at the end of a search or at a look on the way.
    pub(super) fn stood(&self) -> bool {
        !self.reached || self.along.contains('r')
    }
}

/// The first image of a search that the judge is wrong about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broken {
    /// What the judge says of it.
    pub prediction: u32,
    /// How far it is from the image, in the threat's norm; written as text, since a JSON reader may round a number.
    #[serde(with = "exact")]
    pub norm: f64,
    /// The restart that found it.
    pub restart: u32,
}

/// A number as the shortest text that reads back to the same bits.
pub(crate) mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }

    /// The same of a number that may not be there.
    pub mod optional {
        use serde::{Deserializer, Serializer};

        pub fn serialize<S: Serializer>(
            number: &Option<f64>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match number {
                Some(number) => super::serialize(number, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<f64>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }
}
