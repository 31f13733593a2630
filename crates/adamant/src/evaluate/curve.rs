//! Evaluations side by side: of several radii, of every pair of branches.

use super::{Evaluation, Interval};
use serde::{Deserialize, Serialize};

/// What one of several evaluations found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The radius, as written.
    pub epsilon: String,
    /// The branch that is judged.
    pub branch: String,
    /// The branch that the attack sees.
    pub attack_branch: String,
    /// Share of images right as they are.
    pub clean_accuracy: f64,
    /// Its Wilson interval.
    pub clean_ci95: Interval,
    /// In the order they ran.
    pub attacks: Vec<AttackFigures>,
    /// Share of images right under every attack; null in the paper protocol.
    pub worst_case_accuracy: Option<f64>,
    /// Its Wilson interval.
    pub worst_case_ci95: Option<Interval>,
}

/// What one attack left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttackFigures {
    /// Its name.
    pub name: String,
    /// As in [`super::AttackReport`].
    pub robust_accuracy: f64,
    /// Its Wilson interval.
    pub ci95: Interval,
    /// As in [`super::AttackReport`].
    pub success_rate: f64,
}

impl From<&Evaluation> for Figures {
    fn from(evaluation: &Evaluation) -> Self {
        let attacks = evaluation.attacks.iter().map(|attack| AttackFigures {
            name: attack.name.clone(),
            robust_accuracy: attack.robust_accuracy,
            ci95: attack.ci95,
            success_rate: attack.success_rate,
        });
        Self {
            epsilon: evaluation.threat.epsilon.clone(),
            branch: evaluation.branch.clone(),
            attack_branch: evaluation.attack_branch.clone(),
            clean_accuracy: evaluation.clean_accuracy,
            clean_ci95: evaluation.clean_ci95,
            attacks: attacks.collect(),
            worst_case_accuracy: evaluation.worst_case_accuracy,
            worst_case_ci95: evaluation.worst_case_ci95,
        }
    }
}
