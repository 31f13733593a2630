//! Attacks by the names that users know.

use super::{
    Apgd, ApgdLoss, ApgdSettings, Attack, AttackError, AutoAttackVersion, CarliniWagner,
    CarliniWagnerSettings, DeepFool, DeepFoolSettings, Ensemble, Estimated, EstimatedSettings,
    Estimator, Expectation, Fab, FabBoundary, FabSettings, MiFgsm, MiFgsmSettings, NoAttack, Noise,
    Pgd, PgdSettings, Square, SquareSettings,
};
use crate::threat::{Goal, Range, Start, StepSize, TargetRule, ThreatModel};

/// The names that [`parse`] knows; capitals stand for numbers, which may be left out from the right but for those of PGD,
/// BIM and MI-FGSM.
pub const NAMES: [&str; 25] = [
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
    "fab-STEPS-RESTARTS",
    "fab-t-STEPS-RESTARTS",
    "square-QUERIES-RESTARTS",
    "deepfool-STEPS",
    "cw-l2",
    "cw-STEPS",
    "spsa-STEPS-SAMPLES",
    "nes-STEPS-SAMPLES",
    "autoattack",
    "autoattack-plus",
    "autoattack-rand",
    "targeted-NAME",
    "eot-DRAWS-NAME",
];

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

/// The attacks of a name: the members of an ensemble one by one, so that each has a figure of its own, else the one.
///
/// Errors: as [`parse`].
pub fn parse_members(
    name: &str,
    defaults: &AttackDefaults,
) -> Result<Vec<Box<dyn Attack>>, AttackError> {
    match version(&name.to_ascii_lowercase()) {
        Some(version) => Ok(Ensemble::autoattack(version, &defaults.threat).into_members()),
        None => Ok(vec![parse(name, defaults)?]),
    }
}

/// The attack of a name such as `pgd-20`, `pgd-50-10` (steps, restarts) or `targeted-pgd-100`, in any case.
///
/// PGD starts uniformly in the ball, clipped to the pixel range.
/// Errors: `UnknownName`, and those of the attack's constructor.
pub fn parse(name: &str, defaults: &AttackDefaults) -> Result<Box<dyn Attack>, AttackError> {
    let unknown = || AttackError::UnknownName { found: name.to_owned() };
    let name = name.to_ascii_lowercase();
    if let Some(version) = version(&name) {
        return Ok(Box::new(Ensemble::autoattack(version, &defaults.threat)));
    }
    if let Some((draws, averaged)) = name.strip_prefix("eot-").and_then(|n| n.split_once('-')) {
        let draws = draws.parse().map_err(|_| unknown())?;
        let attack = single(averaged, defaults)?.ok_or_else(unknown)?;
        return Ok(Box::new(Expectation::new(attack, draws)?));
    }
    single(&name, defaults)?.ok_or_else(unknown)
}

/// The version of AutoAttack that a name means; `aa` is what others call it.
fn version(name: &str) -> Option<AutoAttackVersion> {
    let version = match name
        .strip_prefix("aa")
        .or_else(|| name.strip_prefix("autoattack").or_else(|| name.strip_prefix("auto-attack")))?
    {
        "" | "-standard" => AutoAttackVersion::Standard,
        "-plus" | "+" => AutoAttackVersion::Plus,
        "-rand" => AutoAttackVersion::Rand,
        _ => return None,
    };
    Some(version)
}

/// An attack that is no ensemble; none where there is none of that name.
fn single(name: &str, defaults: &AttackDefaults) -> Result<Option<Box<dyn Attack>>, AttackError> {
    let (goal, base) = match name.strip_prefix("targeted-") {
        Some(base) => (Goal::Targeted(defaults.target), base),
        None => (Goal::Untargeted, name),
    };
    let is_untargeted = goal == Goal::Untargeted;
    let (kind, numbers) = split(base);
    let threat = defaults.threat.clone();
    let step_size = defaults.step_size.clone().unwrap_or(StepSize::TimesEpsilonOverSteps(2.5));
    let pgd = |steps, restarts| pgd(threat.clone(), goal, steps, step_size.clone(), restarts);
    // The usual steps and one restart where nothing else is said.
    let usual = |steps: usize| match *numbers {
        [] => Some((steps, 1)),
        [steps] => Some((steps as usize, 1)),
        [steps, restarts] => Some((steps as usize, restarts)),
        _ => None,
    };
    let apgd = |loss| {
        let Some((steps, restarts)) = usual(Apgd::STEPS) else { return Ok(None) };
        let threat = threat.clone();
        let attack = Apgd::new(ApgdSettings { threat, goal, loss, steps, restarts })?;
        Ok(Some(Box::new(attack) as Box<dyn Attack>))
    };
    let fab = |boundary| {
        let Some((steps, restarts)) = usual(Fab::STEPS) else { return Ok(None) };
        let attack = Fab::new(FabSettings { threat: threat.clone(), boundary, steps, restarts })?;
        Ok(Some(Box::new(attack) as Box<dyn Attack>))
    };
    let attack: Box<dyn Attack> = match (kind, numbers.as_slice()) {
        ("clean", []) if is_untargeted => Box::new(NoAttack),
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
        ("apgd" | "apgd-ce", _) => return apgd(ApgdLoss::CrossEntropy),
        ("apgd-dlr", _) => return apgd(ApgdLoss::Dlr),
        ("apgd-t", _) if is_untargeted => {
            return apgd(ApgdLoss::TargetedDlr { targets: Apgd::targets_in(threat.norm()) });
        }
        ("fab", _) if is_untargeted => return fab(FabBoundary::Nearest),
        ("fab-t", _) if is_untargeted => return fab(FabBoundary::Targets(Fab::TARGETS)),
        ("square", _) => {
            let Some((queries, restarts)) = usual(Square::QUERIES) else { return Ok(None) };
            Box::new(Square::new(SquareSettings { threat, goal, queries, restarts })?)
        }
        ("deepfool", &[]) if is_untargeted => deepfool(threat, DeepFool::STEPS),
        ("deepfool", &[steps]) if is_untargeted => deepfool(threat, steps as usize),
        ("cw-l2" | "cw", &[]) if is_untargeted => cw(threat, CarliniWagner::STEPS)?,
        ("cw-l2" | "cw", &[steps]) if is_untargeted => cw(threat, steps as usize)?,
        ("spsa" | "nes", numbers) => {
            let (steps, samples) = match *numbers {
                [] => (Estimated::STEPS, Estimated::SAMPLES),
                [steps] => (steps as usize, Estimated::SAMPLES),
                [steps, samples] => (steps as usize, samples),
                _ => return Ok(None),
            };
            let estimator = if kind == "nes" { Estimator::Nes } else { Estimator::Spsa };
            let settings = EstimatedSettings { threat, goal, estimator, steps, samples };
            Box::new(Estimated::new(settings)?)
        }
        _ => return Ok(None),
    };
    Ok(Some(attack))
}

/// The name of an attack as [`parse`] reads it: its kind, with steps and restarts where they are not the usual ones.
pub(super) fn numbered(kind: &str, (steps, usual): (usize, usize), restarts: u32) -> String {
    match (steps == usual, restarts) {
        (true, 1) => kind.to_owned(),
        (false, 1) => format!("{kind}-{steps}"),
        (_, restarts) => format!("{kind}-{steps}-{restarts}"),
    }
}

fn deepfool(threat: ThreatModel, steps: usize) -> Box<dyn Attack> {
    Box::new(DeepFool::new(DeepFoolSettings { threat, steps }))
}

fn cw(threat: ThreatModel, steps: usize) -> Result<Box<dyn Attack>, AttackError> {
    Ok(Box::new(CarliniWagner::new(CarliniWagnerSettings { threat, steps })?))
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
            "fab",
            "fab-100-5",
            "fab-t",
            "fab-t-20",
            "square",
            "square-1000",
            "targeted-square-1000-2",
            "deepfool",
            "deepfool-20",
            "spsa",
            "targeted-spsa-50-16",
            "nes",
            "nes-20",
            "autoattack",
            "autoattack-plus",
            "autoattack-rand",
            "eot-20-apgd-dlr",
            "eot-4-targeted-pgd-10",
        ] {
            let attack = parse(name, &defaults()).expect(name);
            assert_eq!(attack.name(), name);
        }
        let l2 = ThreatModel::new(Norm::L2, "0.5".parse().expect("a length")).expect("a threat");
        for name in ["cw-l2", "cw-20"] {
            let attack = parse(name, &AttackDefaults::new(l2.clone())).expect(name);
            assert_eq!(attack.name(), name);
        }
    }

    #[test]
    fn names_that_users_bring_along_mean_what_they_meant() {
        for (written, name) in [
            ("AA", "autoattack"),
            ("auto-attack", "autoattack"),
            ("AutoAttack-standard", "autoattack"),
            ("aa+", "autoattack-plus"),
            ("APGD", "apgd-ce"),
            ("PGD-20", "pgd-20"),
            ("FGSM", "fgsm"),
        ] {
            assert_eq!(parse(written, &defaults()).expect(written).name(), name);
        }
        let members = parse_members("AA", &defaults()).expect("an ensemble");
        assert_eq!(members.len(), 4);
        assert_eq!(parse_members("pgd-20", &defaults()).expect("an attack").len(), 1);
    }

    #[test]
    fn g5_a_name_that_is_unknown_lists_those_that_are_there() {
        let message = |name: &str| parse(name, &defaults()).err().expect(name).to_string();
        for name in [
            "margin-fgsm",
            "pdg-20",
            "pgd",
            "pgd-",
            "pgd-x",
            "pgd-1-2-3",
            "targeted-clean",
            "targeted-apgd-t",
            "targeted-fab",
            "apgd-ce-1-2-3",
            "fgsm-2",
            "aardvark",
            "eot-x-pgd-20",
            "eot-20-nothing",
            "",
        ] {
            let names = NAMES.join(", ");
            let expected = format!("attack is {name:?}, expected one of {names}");
            assert_eq!(message(name), expected);
        }
        assert_eq!(message("pgd-20-0"), "attack pgd-20-0: restarts is 0, expected at least 1");
        assert_eq!(message("cw-l2"), "attack cw-l2: norm is Linf, expected L2");
        let odd = "attack spsa-9-3: samples is 3, expected an even number, at least 2";
        assert_eq!(message("spsa-9-3"), odd);
        assert_eq!(message("eot-0-fgsm"), "attack eot-0-fgsm: draws is 0, expected at least 1");
    }
}
