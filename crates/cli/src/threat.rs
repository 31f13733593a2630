//! What the adversary may do and tries: the arguments that `evaluate` and `attack` share.

use crate::failure::OrWrongUsage;
use crate::model::Origin;
use crate::surrogate::{self, SecondModel};
use adamant::attack::{self, Attack, AttackDefaults};
use adamant::threat::{Epsilon, Norm, StepSize, TargetRule, ThreatModel};
use anyhow::{anyhow, bail};
use clap::ValueEnum;
use engine::cpu::CpuEngine;
use network::Domain;
use std::path::PathBuf;

/// What the adversary may do.
#[derive(clap::Args, Clone, Debug)]
pub struct ThreatArguments {
    /// Linf or L2; the default is the run's, else Linf.
    #[arg(long)]
    norm: Option<Norm>,
    /// The radius in pixels of [0, 1], such as 8/255; the default is the run's, else 8/255 for Linf.
    #[arg(long, alias = "epsilon", allow_hyphen_values = true)]
    eps: Option<Epsilon>,
    /// One step of PGD and BIM, such as 2/255; the default is 2.5 eps / steps, in the paper's protocol
    /// 1/255 and at least eps / steps.
    #[arg(long, value_name = "SIZE", aliases = ["step_size", "alpha"], allow_hyphen_values = true)]
    step_size: Option<Epsilon>,
    /// Steps of pgd, bim and mifgsm where a name has no number; 20 if not given.
    #[arg(long, value_name = "N", aliases = ["num-steps", "num_steps", "attack-steps", "attack_steps"])]
    steps: Option<u32>,
    /// How targeted attacks choose their targets.
    #[arg(long, value_name = "RULE", default_value = "uniform")]
    target: Target,
    /// A second model, such as another run: transfer-pgd-20 crafts on it what is tried on the judged one.
    #[arg(long, value_name = "MODEL")]
    surrogate: Option<PathBuf>,
}

/// How targeted attacks choose their targets; never the true class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Uniformly among the other classes, once per image.
    Uniform,
    /// The class with the smallest logit on the clean image.
    LeastLikely,
    /// The class after the true one.
    Next,
}

/// How long a step is where nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// 2.5 epsilon / steps.
    Usual,
    /// 1/255, and no less than epsilon / steps.
    Paper,
}

/// The step of the paper's evaluation.
const PAPER_STEP: &str = "1/255";
/// Steps of an attack whose name says none.
const STEPS: u32 = 20;
/// The field's usual radius for natural images.
const USUAL: &str = "8/255";

impl ThreatArguments {
    /// The ball: as written here, else as trained, else the usual one.
    pub fn threat(&self, origin: Option<&Origin>) -> anyhow::Result<ThreatModel> {
        let trained = origin.map(|origin| &origin.recipe.attack);
        let norm = self.norm.or(trained.map(|attack| attack.norm)).unwrap_or(Norm::Linf);
        let epsilon = match (&self.eps, trained) {
            (Some(epsilon), _) => epsilon.clone(),
            // A radius means nothing in another norm than its own.
            (None, Some(attack)) if attack.norm == norm => {
                attack.epsilon.parse().or_wrong_usage()?
            }
            (None, _) if norm == Norm::Linf => USUAL.parse()?,
            (None, _) => {
                return Err(anyhow!(
                    "no radius for norm {norm}\n  hint: state it with --eps, such as 0.5"
                ))
                .or_wrong_usage();
            }
        };
        ThreatModel::new(norm, epsilon).or_wrong_usage()
    }

    /// The second model of attacks `names`, where one of them needs it.
    pub fn second_model(
        &self,
        names: &[String],
        branch: Domain,
        engine: &CpuEngine,
    ) -> anyhow::Result<Option<SecondModel>> {
        surrogate::check(names, self.surrogate.as_deref())?;
        let open = |named: &PathBuf| SecondModel::open(named, branch, engine);
        self.surrogate.as_ref().map(open).transpose()
    }

    /// The attacks of `names`, an ensemble's members one by one; `clean` is no attack here, since clean accuracy always
    /// comes first.
    pub fn attacks(
        &self,
        names: &[String],
        threat: &ThreatModel,
        usual: Steps,
        second: Option<&SecondModel>,
    ) -> anyhow::Result<Vec<Box<dyn Attack>>> {
        let defaults = self.defaults(threat, usual)?;
        let mut attacks = Vec::new();
        for name in self.full(names).or_wrong_usage()? {
            let (name, second) = on(&name, second);
            let members = attack::parse_members(name, &defaults).or_wrong_usage()?;
            attacks.extend(members.into_iter().map(|attack| made(attack, second)));
        }
        Ok(attacks)
    }

    /// The one attack of `name`, an ensemble as a whole; none for `clean`.
    pub fn attack(
        &self,
        name: &str,
        threat: &ThreatModel,
        second: Option<&SecondModel>,
    ) -> anyhow::Result<Option<Box<dyn Attack>>> {
        let defaults = self.defaults(threat, Steps::Usual)?;
        let names = self.full(&[name.to_string()]).or_wrong_usage()?;
        let Some(name) = names.first() else { return Ok(None) };
        let (name, second) = on(name, second);
        let attack = attack::parse(name, &defaults).or_wrong_usage()?;
        Ok(Some(made(attack, second)))
    }

    fn defaults(&self, threat: &ThreatModel, usual: Steps) -> anyhow::Result<AttackDefaults> {
        let mut defaults = AttackDefaults::new(threat.clone());
        defaults.step_size = match (&self.step_size, usual) {
            (Some(step), _) => Some(StepSize::Fixed(step.clone())),
            (None, Steps::Usual) => None,
            // 1/255, and 1.6/255 for 10 steps at 16/255: the rule of the paper's code (T24).
            (None, Steps::Paper) => Some(StepSize::AtLeastEpsilonOverSteps(PAPER_STEP.parse()?)),
        };
        defaults.target = match self.target {
            Target::Uniform => TargetRule::UniformOther,
            Target::LeastLikely => TargetRule::LeastLikely,
            Target::Next => TargetRule::Next,
        };
        Ok(defaults)
    }

    /// The names without `clean`, with the steps that some leave open.
    fn full(&self, names: &[String]) -> anyhow::Result<Vec<String>> {
        let names: Vec<&String> = names.iter().filter(|name| *name != "clean").collect();
        if self.steps.is_some() && !names.iter().any(|name| is_open(name)) {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            bail!(
                "--steps has nothing to say to {}\n  \
                 hint: a name such as pgd-20 states its steps; write pgd to leave them open",
                names.join(", ")
            );
        }
        let steps = self.steps.unwrap_or(STEPS);
        let full = |name: &String| {
            if is_open(name) { format!("{name}-{steps}") } else { name.clone() }
        };
        Ok(names.into_iter().map(full).collect())
    }
}

/// What is left of a name, and the model that it is made on where that is the second.
fn on<'a>(name: &'a str, second: Option<&'a SecondModel>) -> (&'a str, Option<&'a SecondModel>) {
    match name.strip_prefix(surrogate::PREFIX) {
        Some(rest) => (rest, second),
        None => (name, None),
    }
}

fn made(attack: Box<dyn Attack>, second: Option<&SecondModel>) -> Box<dyn Attack> {
    match second {
        Some(second) => second.craft(attack),
        None => attack,
    }
}

/// Whether a name leaves its number of steps open.
fn is_open(name: &str) -> bool {
    let name = name.strip_prefix(surrogate::PREFIX).unwrap_or(name);
    matches!(name.strip_prefix("targeted-").unwrap_or(name), "pgd" | "bim" | "mifgsm")
}
