//! A study as written: TOML in, plain data out, every name in it checked.

use super::StudyError;
use super::quantity::{Quantity, STATISTICS, TRAINING};
use super::verdict::Expectation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Value;

/// Values for keys of a recipe, by dotted key.
pub type Assignments = BTreeMap<String, Value>;

/// A study: every regime is run with every arm and every seed, and each claim is tested in every regime.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Its name on the command line.
    pub name: String,
    /// One line.
    pub title: String,
    /// What is asked and how it is tested here.
    pub question: String,
    /// The recipe that all cells begin with: a name of `recipes/`.
    pub base: String,
    /// Seeds; the same in all arms, which makes differences between arms paired.
    pub seeds: Vec<u64>,
    /// Values for all cells.
    #[serde(default)]
    pub set: Assignments,
    /// Data sets and threats.
    #[serde(rename = "regime")]
    pub regimes: Vec<Regime>,
    /// What is compared.
    #[serde(rename = "arm")]
    pub arms: Vec<Arm>,
    /// How each trained model is judged.
    #[serde(rename = "evaluate")]
    pub evaluations: Vec<EvaluationSpec>,
    /// How each trained model's batch norms are looked at, where they are.
    #[serde(default)]
    pub statistics: Option<StatisticsSpec>,
    /// Which claims the study tests, and how.
    #[serde(default, rename = "test")]
    pub tests: Vec<Test>,
    /// What the arms' `x` counts, where they have one.
    #[serde(default)]
    pub x_label: Option<String>,
    /// Columns of the table and dots of the figure.
    pub show: Vec<Quantity>,
    /// What a reader must know before quoting a figure.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// The small form.
    pub quick: Quick,
}

/// A data set with a threat.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regime {
    /// A short name, part of file names.
    pub name: String,
    /// For people.
    pub title: String,
    /// 0 for what runs first; see `choose`.
    #[serde(default)]
    pub rank: u32,
    /// Values for its cells.
    #[serde(default)]
    pub set: Assignments,
}

/// One of the things compared.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// A short name, part of file names.
    pub name: String,
    /// For people.
    pub title: String,
    /// Its place on the horizontal axis.
    #[serde(default)]
    pub x: Option<f64>,
    /// The curve it belongs to.
    #[serde(default)]
    pub series: Option<String>,
    /// 0 for what runs first; see `choose`.
    #[serde(default)]
    pub rank: u32,
    /// The arm, named before this one, whose trained model of the same regime and seed this one begins with.
    #[serde(default)]
    pub from: Option<String>,
    /// Values for its cells.
    #[serde(default)]
    pub set: Assignments,
}

/// One judgement of every trained model: the arguments of `adamant evaluate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSpec {
    /// What tests call it.
    pub name: String,
    /// Attacks, in the order they run.
    pub attacks: Vec<String>,
    /// `worst-case` or `paper`.
    #[serde(default = "worst_case")]
    pub protocol: String,
    /// The branch that is judged.
    #[serde(default = "adversarial")]
    pub branch: String,
    /// The branch that is attacked; the judged one where nothing is said.
    #[serde(default)]
    pub attack_branch: Option<String>,
    /// Test images, chosen by the cell's seed; 0 for all.
    #[serde(default)]
    pub samples: usize,
    /// Whether searches are judged on their way too.
    #[serde(default)]
    pub along: bool,
    /// The arms whose models are judged so; none named for all.
    #[serde(default)]
    pub arms: Vec<String>,
}

/// One look at the batch norms of trained models: the arguments of `adamant diagnose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatisticsSpec {
    /// What makes the adversarial images.
    pub attack: String,
    /// Test images, chosen by the cell's seed.
    pub samples: usize,
    /// The arms whose models are looked at; none named for all.
    #[serde(default)]
    pub arms: Vec<String>,
}

fn worst_case() -> String {
    "worst-case".to_string()
}

fn adversarial() -> String {
    "adversarial".to_string()
}

/// A claim put to the test.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Test {
    /// Such as `C1`.
    pub claim: String,
    /// What is compared, in words.
    pub what: String,
    /// The figure it is about.
    pub quantity: Quantity,
    /// The figure of the arms of `minus`, where it is another.
    #[serde(default)]
    pub minus_quantity: Option<Quantity>,
    /// What the claim says of it.
    pub expect: Expectation,
    /// An effect below this is none, as a share.
    pub resolution: f64,
    /// How it is tested.
    #[serde(flatten)]
    pub rule: Rule,
}

/// How arms become one number and a verdict.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum Rule {
    /// The arms of `plus` less those of `minus`, seed by seed.
    Contrast {
        /// Arms that count positive.
        plus: Vec<String>,
        /// Arms that count negative.
        #[serde(default)]
        minus: Vec<String>,
        /// What is made of several arms.
        #[serde(default)]
        weights: Weights,
    },
    /// Whether the figure rises or falls with the arms' `x`.
    Trend {
        /// The arms.
        arms: Vec<String>,
    },
}

/// What is made of several arms of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum: a difference of differences has two arms on each side.
    Sum,
    /// The least-squares slope over log2 of their `x`: the gain per doubling.
    SlopePerDoubling,
}

/// The small form of a study: seconds, to see that everything runs. Its figures mean nothing.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quick {
    /// Another recipe to begin with.
    pub base: String,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// The arms kept; none named for all.
    #[serde(default)]
    pub arms: Vec<String>,
    /// Values on top of all others.
    #[serde(default)]
    pub set: Assignments,
    /// Values on top even of those, arm by arm.
    #[serde(default)]
    pub arm_set: BTreeMap<String, Assignments>,
    /// Most images of an evaluation.
    pub samples: usize,
    /// Attacks in place of those of the full study.
    #[serde(default)]
    pub attacks: BTreeMap<String, String>,
}

impl Study {
    /// Reads a study.
    ///
    /// Errors: bad TOML or unknown keys; names of arms, evaluations or attacks that the study does not have.
    pub fn parse(text: &str, file: &str) -> Result<Self, StudyError> {
        let study: Self = toml::from_str(text).map_err(|error| StudyError::Syntax {
            file: file.to_string(),
            message: error.to_string().trim_end().to_string(),
        })?;
        study.check()?;
        Ok(study)
    }

    /// The arm of a name.
    pub fn arm(&self, name: &str) -> Option<&Arm> {
        self.arms.iter().find(|arm| arm.name == name)
    }

    /// The small form: one regime, few seeds, few images, short attacks.
    pub fn quick(&self) -> Self {
        let mut small = self.clone();
        let Quick { base, seeds, arms, set, arm_set, samples, attacks } = self.quick.clone();
        (small.name, small.base, small.seeds) = (format!("{}-quick", self.name), base, seeds);
        small.regimes.truncate(1);
        small.regimes[0].set.clear();
        (small.regimes[0].name, small.regimes[0].title) = ("quick".into(), "quick form".into());
        if !arms.is_empty() {
            small.arms.retain(|arm| arms.contains(&arm.name));
        }
        for arm in &mut small.arms {
            arm.set.extend(set.clone());
            arm.set.extend(arm_set.get(&arm.name).cloned().unwrap_or_default());
        }
        let shorter = |name: &mut String| {
            if let Some(other) = attacks.get(name.as_str()) {
                name.clone_from(other);
            }
        };
        let kept: Vec<String> = small.arms.iter().map(|arm| arm.name.clone()).collect();
        for evaluation in &mut small.evaluations {
            evaluation.attacks.iter_mut().for_each(shorter);
            evaluation.samples = match evaluation.samples {
                0 => samples,
                all => all.min(samples),
            };
            if !evaluation.arms.is_empty() {
                evaluation.arms.retain(|arm| kept.contains(arm));
            }
        }
        if let Some(statistics) = &mut small.statistics {
            shorter(&mut statistics.attack);
            statistics.samples = statistics.samples.min(samples);
            statistics.arms.retain(|arm| kept.contains(arm));
        }
        let tested = small.tests.iter_mut();
        let tested =
            tested.flat_map(|t| std::iter::once(&mut t.quantity).chain(&mut t.minus_quantity));
        for quantity in small.show.iter_mut().chain(tested) {
            shorter(&mut quantity.attack);
            quantity.less.iter_mut().for_each(shorter);
        }
        small.tests.retain(|test| test.rule.arms().iter().all(|arm| kept.contains(arm)));
        small
    }

    fn check(&self) -> Result<(), StudyError> {
        let arms: Vec<String> = self.arms.iter().map(|arm| arm.name.clone()).collect();
        let evaluations: Vec<String> = self.evaluations.iter().map(|e| e.name.clone()).collect();
        let known = |place: String, found: &str, valid: &[String]| {
            let (study, found) = (self.name.clone(), found.to_string());
            match valid.contains(&found) {
                true => Ok(()),
                false => Err(StudyError::Dangling { study, place, found, valid: valid.to_vec() }),
            }
        };
        for (place, arm) in self.arms.iter().enumerate() {
            if let Some(from) = &arm.from {
                known(format!("arm {}", arm.name), from, &arms[..place])?;
            }
        }
        for evaluation in &self.evaluations {
            for arm in &evaluation.arms {
                known(format!("evaluation {}", evaluation.name), arm, &arms)?;
            }
        }
        for test in &self.tests {
            for arm in test.rule.arms() {
                known(format!("the test of {}", test.claim), arm, &arms)?;
            }
        }
        for arm in self.statistics.iter().flat_map(|statistics| &statistics.arms) {
            known("statistics".to_string(), arm, &arms)?;
        }
        for name in [TRAINING, STATISTICS] {
            if evaluations.iter().any(|evaluation| evaluation == name) {
                return Err(StudyError::Reserved { study: self.name.clone(), name });
            }
        }
        let judged = [evaluations, vec![TRAINING.to_string(), STATISTICS.to_string()]].concat();
        let tested = self.tests.iter();
        let tested = tested.flat_map(|t| std::iter::once(&t.quantity).chain(&t.minus_quantity));
        for quantity in self.show.iter().chain(tested) {
            known("a quantity".to_string(), &quantity.evaluation, &judged)?;
        }
        for arm in &self.quick.arms {
            known("quick.arms".to_string(), arm, &arms)?;
        }
        Ok(())
    }
}

impl Rule {
    /// Every arm it looks at.
    pub fn arms(&self) -> Vec<&String> {
        match self {
            Self::Contrast { plus, minus, .. } => plus.iter().chain(minus).collect(),
            Self::Trend { arms } => arms.iter().collect(),
        }
    }
}
