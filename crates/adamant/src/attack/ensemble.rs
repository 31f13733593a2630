//! Several attacks, each on the images that the last have left: AutoAttack.

use super::check::COMPACTED_TILES;
use super::loss::margin;
use super::{
    Apgd, ApgdLoss, ApgdSettings, Attack, AttackError, AttackStream, Expectation, Fab, FabBoundary,
    FabSettings, Perturbed, Square, SquareSettings, Victim, prediction,
};
use crate::image::Batch;
use crate::threat::{Goal, Norm, ThreatModel};

/// The versions of AutoAttack.
///
/// Source: Croce & Hein 2020, section 5, and the authors' code; L1 as in Croce & Hein 2021, "Mind the box".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoAttackVersion {
    /// `apgd-ce`, `apgd-t`, `fab-t` and `square`: what published figures mean.
    Standard,
    /// All six, with five restarts of `apgd-ce`, `apgd-dlr` and `fab`.
    Plus,
    /// `apgd-ce` and `apgd-dlr` on gradients averaged over 20 draws, for networks that answer at random.
    Rand,
}

/// Restarts of `apgd-ce`, `apgd-dlr` and `fab` in AutoAttack plus, and of `apgd-ce` in L1.
const MORE_RESTARTS: u32 = 5;
/// Draws per gradient in AutoAttack rand.
const DRAWS: u32 = 20;

/// Several attacks in a row, each on the images that still stand.
pub struct Ensemble {
    name: String,
    members: Vec<Box<dyn Attack>>,
}

impl Ensemble {
    /// Attacks of one's own choice under a name of one's own.
    pub fn new(name: &str, members: Vec<Box<dyn Attack>>) -> Self {
        Self { name: name.to_owned(), members }
    }

    /// AutoAttack with the official settings.
    pub fn autoattack(version: AutoAttackVersion, threat: &ThreatModel) -> Self {
        let name = match version {
            AutoAttackVersion::Standard => "autoattack",
            AutoAttackVersion::Plus => "autoattack-plus",
            AutoAttackVersion::Rand => "autoattack-rand",
        };
        let members = match version {
            AutoAttackVersion::Standard => {
                let restarts = if threat.norm() == Norm::L1 { MORE_RESTARTS } else { 1 };
                vec![
                    apgd(threat, ApgdLoss::CrossEntropy, restarts),
                    targeted_apgd(threat),
                    fab(threat, FabBoundary::Targets(Fab::TARGETS), 1),
                    square(threat),
                ]
            }
            AutoAttackVersion::Plus => vec![
                apgd(threat, ApgdLoss::CrossEntropy, MORE_RESTARTS),
                apgd(threat, ApgdLoss::Dlr, MORE_RESTARTS),
                fab(threat, FabBoundary::Nearest, MORE_RESTARTS),
                square(threat),
                targeted_apgd(threat),
                fab(threat, FabBoundary::Targets(Fab::TARGETS), 1),
            ],
            AutoAttackVersion::Rand => [ApgdLoss::CrossEntropy, ApgdLoss::Dlr]
                .into_iter()
                .map(|loss| expectation(apgd(threat, loss, 1)))
                .collect(),
        };
        Self { name: name.to_owned(), members }
    }

    /// The attacks one by one, for a judge who wants a figure for each.
    pub fn into_members(self) -> Vec<Box<dyn Attack>> {
        self.members
    }
}

const SOUND: &str = "the official settings are sound";

fn apgd(threat: &ThreatModel, loss: ApgdLoss, restarts: u32) -> Box<dyn Attack> {
    let (threat, goal, steps) = (threat.clone(), Goal::Untargeted, Apgd::STEPS);
    Box::new(Apgd::new(ApgdSettings { threat, goal, loss, steps, restarts }).expect(SOUND))
}

fn targeted_apgd(threat: &ThreatModel) -> Box<dyn Attack> {
    apgd(threat, ApgdLoss::TargetedDlr { targets: Apgd::targets_in(threat.norm()) }, 1)
}

fn fab(threat: &ThreatModel, boundary: FabBoundary, restarts: u32) -> Box<dyn Attack> {
    let (threat, steps) = (threat.clone(), Fab::STEPS);
    Box::new(Fab::new(FabSettings { threat, boundary, steps, restarts }).expect(SOUND))
}

fn square(threat: &ThreatModel) -> Box<dyn Attack> {
    let (threat, goal, queries) = (threat.clone(), Goal::Untargeted, Square::QUERIES);
    let settings = SquareSettings { threat, goal, queries, restarts: 1 };
    Box::new(Square::new(settings).expect(SOUND))
}

fn expectation(attack: Box<dyn Attack>) -> Box<dyn Attack> {
    Box::new(Expectation::new(attack, DRAWS).expect(SOUND))
}

impl Attack for Ensemble {
    fn name(&self) -> String {
        self.name.clone()
    }

    /// What first makes the victim wrong; for images that stand, the proposal with the largest margin.
    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        let count = batch.images.count;
        let mut all = Perturbed {
            images: batch.images.clone(),
            targets: None,
            restarts: vec![stream.first_restart; count],
        };
        let mut best = vec![f64::NEG_INFINITY; count];
        let mut standing: Vec<usize> = (0..count).collect();
        for member in &self.members {
            if standing.is_empty() {
                break;
            }
            let some = batch.select(&standing);
            let found = member.perturb(victim, &some, stream)?;
            let logits = victim.logits(&found.images)?;
            let mut row = 0;
            standing.retain(|&position| {
                let answer = logits.row(row);
                let gain = margin(answer, batch.labels[position]);
                let is_wrong = prediction(answer) != batch.labels[position];
                if is_wrong || gain > best[position] {
                    all.images.one_mut(position).copy_from_slice(found.images.one(row));
                    all.restarts[position] = found.restarts[row];
                    best[position] = gain;
                }
                row += 1;
                !is_wrong
            });
        }
        Ok(all)
    }

    fn tiles_at_once(&self) -> usize {
        COMPACTED_TILES
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let names: Vec<String> = self.members.iter().map(|member| member.name()).collect();
        vec![("attacks", names.join(", "))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g18_the_versions_are_the_official_ones() {
        let names = |version, norm, epsilon: &str| -> Vec<String> {
            let threat = ThreatModel::new(norm, epsilon.parse().expect("a length"));
            let ensemble = Ensemble::autoattack(version, &threat.expect("a threat"));
            ensemble.into_members().iter().map(|member| member.name()).collect()
        };
        let standard = ["apgd-ce", "apgd-t", "fab-t", "square"];
        for (norm, epsilon) in [(Norm::Linf, "8/255"), (Norm::L2, "0.5")] {
            assert_eq!(names(AutoAttackVersion::Standard, norm, epsilon), standard);
        }
        let l1 = names(AutoAttackVersion::Standard, Norm::L1, "12");
        assert_eq!(l1, ["apgd-ce-100-5", "apgd-t", "fab-t", "square"]);
        let plus = names(AutoAttackVersion::Plus, Norm::Linf, "8/255");
        let expected =
            ["apgd-ce-100-5", "apgd-dlr-100-5", "fab-100-5", "square", "apgd-t", "fab-t"];
        assert_eq!(plus, expected);
        let rand = names(AutoAttackVersion::Rand, Norm::Linf, "8/255");
        assert_eq!(rand, ["eot-20-apgd-ce", "eot-20-apgd-dlr"]);
    }
}
