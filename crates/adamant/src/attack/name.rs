//! Attacks by the names that users know.

use super::loss::AttackLoss;
use super::{Attack, AttackError, MiFgsm, MiFgsmSettings, NoAttack, Noise, Pgd, PgdSettings};
use crate::threat::{Goal, Range, Start, StepSize, TargetRule, ThreatModel};

/// The names that [`parse`] knows; capitals stand for numbers.
pub const NAMES: [&str; 10] = [
    "clean",
    "fgsm",
    "bim-STEPS",
    "pgd-STEPS",
    "pgd-STEPS-RESTARTS",
    "margin-PGD",
    "mifgsm-STEPS",
    "noise",
    "noise-DRAWS",
    "targeted-NAME",
];

/// Names the command line promises for later versions.
const LATER: [&str; 6] = ["apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square", "autoattack"];

/// What a name leaves open.
#[derive(Clone, Debug, PartialEq)]
pub struct AttackDefaults {
    /// What is allowed.
    pub threat: ThreatModel,
    /// Length of a step of PGD and BIM; 2.5 epsilon / steps where nothing is said. The paper's protocol fixes 1/255.
    pub step_size: Option<StepSize>,
    /// How `targeted-` chooses.
    pub target: TargetRule,
}

impl AttackDefaults {
    /// The defaults for a threat: usual steps, targets uniform over the other classes.
    pub fn new(threat: ThreatModel) -> Self {
        Self { threat, step_size: None, target: TargetRule::UniformOther }
    }
}

/// The attack of a name such as `pgd-20`, `pgd-50-10` (steps, restarts) or `targeted-pgd-100`.
///
/// PGD starts uniformly in the ball, clipped to the pixel range.
/// Errors: `UnknownName`, `NotAvailable`, and those of the attack's constructor.
pub fn parse(name: &str, defaults: &AttackDefaults) -> Result<Box<dyn Attack>, AttackError> {
    let unknown = || AttackError::UnknownName { found: name.to_owned() };
    let (goal, base) = match name.strip_prefix("targeted-") {
        Some(base) => (Goal::Targeted(defaults.target), base),
        None => (Goal::Untargeted, name),
    };
    if LATER.contains(&base) {
        return Err(AttackError::NotAvailable { name: name.to_owned() });
    }
    let (loss, base) = match base.strip_prefix("margin-") {
        Some(base) => (AttackLoss::Margin, base),
        None => (AttackLoss::CrossEntropy, base),
    };
    let (kind, numbers) = match base.split_once('-') {
        Some((kind, numbers)) => (kind, numbers.split('-').collect()),
        None => (base, Vec::new()),
    };
    let numbers: Vec<u32> = numbers
        .into_iter()
        .map(|number| number.parse().map_err(|_| unknown()))
        .collect::<Result<_, _>>()?;
    let threat = defaults.threat.clone();
    let step_size = defaults.step_size.clone().unwrap_or(StepSize::TimesEpsilonOverSteps(2.5));
    Ok(match (kind, numbers.as_slice()) {
        ("pgd", &[steps]) if loss == AttackLoss::Margin => {
            Box::new(pgd(threat, goal, steps, step_size, 1)?.on_margin())
        }
        ("pgd", &[steps, restarts]) if loss == AttackLoss::Margin => {
            Box::new(pgd(threat, goal, steps, step_size, restarts)?.on_margin())
        }
        _ if loss == AttackLoss::Margin => return Err(unknown()),
        ("clean", []) if goal == Goal::Untargeted => Box::new(NoAttack),
        ("fgsm", []) => Box::new(Pgd::fgsm(threat, goal)?),
        ("bim", &[steps]) => Box::new(Pgd::bim(threat, goal, steps as usize, step_size)?),
        ("pgd", &[steps]) => Box::new(pgd(threat, goal, steps, step_size, 1)?),
        ("pgd", &[steps, restarts]) => Box::new(pgd(threat, goal, steps, step_size, restarts)?),
        ("mifgsm", &[steps]) => Box::new(MiFgsm::new(MiFgsmSettings {
            threat,
            goal,
            steps: steps as usize,
            step_size: StepSize::TimesEpsilonOverSteps(1.0),
            decay: 1.0,
        })?),
        ("noise", []) => Box::new(Noise::new(threat, goal, Noise::DRAWS)?),
        ("noise", &[draws]) => Box::new(Noise::new(threat, goal, draws)?),
        _ => return Err(unknown()),
    })
}

fn pgd(
    threat: ThreatModel,
    goal: Goal,
    steps: u32,
    step_size: StepSize,
    restarts: u32,
) -> Result<Pgd, AttackError> {
    let (start, start_range) = (Start::Uniform, Range::Pixels);
    let steps = steps as usize;
    Pgd::new(PgdSettings { threat, goal, steps, step_size, start, start_range, restarts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threat::Norm;

    fn defaults() -> AttackDefaults {
        let epsilon = "8/255".parse().expect("a length");
        AttackDefaults::new(ThreatModel::new(Norm::Linf, epsilon).expect("a threat"))
    }

    #[test]
    fn every_name_makes_the_attack_that_carries_it() {
        for name in [
            "clean",
            "fgsm",
            "bim-10",
            "pgd-20",
            "pgd-50-10",
            "mifgsm-10",
            "noise",
            "noise-3",
            "targeted-fgsm",
            "targeted-pgd-100",
            "targeted-pgd-50-10",
            "targeted-mifgsm-5",
            "targeted-noise",
            "margin-pgd-20",
            "targeted-margin-pgd-50-10",
        ] {
            let attack = parse(name, &defaults()).expect(name);
            assert_eq!(attack.name(), name);
        }
    }

    #[test]
    fn g5_a_name_that_is_unknown_or_of_a_later_version_lists_those_that_are_there() {
        let message = |name: &str| parse(name, &defaults()).err().expect(name).to_string();
        let names = "clean, fgsm, bim-STEPS, pgd-STEPS, pgd-STEPS-RESTARTS, margin-PGD, mifgsm-STEPS, \
                     noise, noise-DRAWS, targeted-NAME";
        for name in [
            "margin-fgsm",
            "pdg-20",
            "margin-fgsm",
            "pgd",
            "pgd-",
            "pgd-x",
            "pgd-1-2-3",
            "targeted-clean",
            "fgsm-2",
            "",
        ] {
            let expected = format!("attack is {name:?}, expected one of {names}");
            assert_eq!(message(name), expected);
        }
        for name in ["apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square", "autoattack"] {
            let expected = format!(
                "attack {name} is not available in this version\n  hint: available are {names}"
            );
            assert_eq!(message(name), expected);
        }
        let none = "attack pgd-20-0: restarts is 0, expected at least 1";
        assert_eq!(message("pgd-20-0"), none);
    }
}
