//! Attacks by the names that users know.

use super::{
    Apgd, ApgdLoss, ApgdSettings, Attack, AttackError, MiFgsm, MiFgsmSettings, NoAttack, Noise,
    Pgd, PgdSettings,
};
use crate::threat::{Goal, Range, Start, StepSize, TargetRule, ThreatModel};

/// The names that [`parse`] knows; capitals stand for numbers, and those of APGD may be left out.
pub const NAMES: [&str; 13] = [
    "clean",
    "fgsm",
    "bim-STEPS",
    "pgd-STEPS",
    "pgd-STEPS-RESTARTS",
    "margin-PGD",
    "mifgsm-STEPS",
    "noise",
    "noise-DRAWS",
    "apgd-ce-STEPS-RESTARTS",
    "apgd-dlr-STEPS-RESTARTS",
    "apgd-t-STEPS-RESTARTS",
    "targeted-NAME",
];

/// Names the command line promises for later versions.
const LATER: [&str; 3] = ["fab-t", "square", "autoattack"];

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
    let (kind, numbers) = split(base);
    let threat = defaults.threat.clone();
    let step_size = defaults.step_size.clone().unwrap_or(StepSize::TimesEpsilonOverSteps(2.5));
    let pgd = |steps, restarts| pgd(threat.clone(), goal, steps, step_size.clone(), restarts);
    Ok(match (kind, numbers.as_slice()) {
        ("clean", []) if goal == Goal::Untargeted => Box::new(NoAttack),
        ("fgsm", []) => Box::new(Pgd::fgsm(threat, goal)?),
        ("bim", &[steps]) => Box::new(Pgd::bim(threat, goal, steps as usize, step_size)?),
        ("pgd", &[steps]) => Box::new(pgd(steps, 1)?),
        ("pgd", &[steps, restarts]) => Box::new(pgd(steps, restarts)?),
        ("margin-pgd", &[steps]) => Box::new(pgd(steps, 1)?.on_margin()),
        ("margin-pgd", &[steps, restarts]) => Box::new(pgd(steps, restarts)?.on_margin()),
        ("mifgsm", &[steps]) => Box::new(MiFgsm::new(MiFgsmSettings {
            threat,
            goal,
            steps: steps as usize,
            step_size: StepSize::TimesEpsilonOverSteps(1.0),
            decay: 1.0,
        })?),
        ("noise", []) => Box::new(Noise::new(threat, goal, Noise::DRAWS)?),
        ("noise", &[draws]) => Box::new(Noise::new(threat, goal, draws)?),
        ("apgd" | "apgd-ce" | "apgd-dlr" | "apgd-t", numbers) => {
            let (steps, restarts) = match *numbers {
                [] => (Apgd::STEPS, 1),
                [steps] => (steps as usize, 1),
                [steps, restarts] => (steps as usize, restarts),
                _ => return Err(unknown()),
            };
            let loss = match kind {
                "apgd-t" if goal == Goal::Untargeted => {
                    ApgdLoss::TargetedDlr { targets: Apgd::targets_in(threat.norm()) }
                }
                "apgd-t" => return Err(unknown()),
                "apgd-dlr" => ApgdLoss::Dlr,
                _ => ApgdLoss::CrossEntropy,
            };
            Box::new(Apgd::new(ApgdSettings { threat, goal, loss, steps, restarts })?)
        }
        _ => return Err(unknown()),
    })
}

/// A name's words, and the numbers it ends in.
fn split(name: &str) -> (&str, Vec<u32>) {
    let mut words = name;
    let mut numbers = Vec::new();
    while let Some((rest, last)) = words.rsplit_once('-') {
        let Ok(number) = last.parse() else { break };
        numbers.insert(0, number);
        words = rest;
    }
    (words, numbers)
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
            "apgd-ce",
            "apgd-ce-50",
            "apgd-dlr-100-5",
            "apgd-t",
            "targeted-apgd-ce",
        ] {
            let attack = parse(name, &defaults()).expect(name);
            assert_eq!(attack.name(), name);
        }
    }

    #[test]
    fn g5_a_name_that_is_unknown_or_of_a_later_version_lists_those_that_are_there() {
        let message = |name: &str| parse(name, &defaults()).err().expect(name).to_string();
        let names = "clean, fgsm, bim-STEPS, pgd-STEPS, pgd-STEPS-RESTARTS, margin-PGD, mifgsm-STEPS, \
                     noise, noise-DRAWS, apgd-ce-STEPS-RESTARTS, apgd-dlr-STEPS-RESTARTS, \
                     apgd-t-STEPS-RESTARTS, targeted-NAME";
        for name in [
            "margin-fgsm",
            "pdg-20",
            "margin-fgsm",
            "pgd",
            "pgd-",
            "pgd-x",
            "pgd-1-2-3",
            "targeted-clean",
            "targeted-apgd-t",
            "apgd-ce-1-2-3",
            "fgsm-2",
            "",
        ] {
            let expected = format!("attack is {name:?}, expected one of {names}");
            assert_eq!(message(name), expected);
        }
        for name in ["fab-t", "square", "autoattack"] {
            let expected = format!(
                "attack {name} is not available in this version\n  hint: available are {names}"
            );
            assert_eq!(message(name), expected);
        }
        let none = "attack pgd-20-0: restarts is 0, expected at least 1";
        assert_eq!(message("pgd-20-0"), none);
    }
}
