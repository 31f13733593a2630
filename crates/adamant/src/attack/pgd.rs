//! Projected gradient descent; FGSM and BIM are settings of it.

use super::ask::gradients;
use super::check::check_batch;
use super::loss::AttackLoss;
use super::start::starting_points;
use super::worst::worst_per_image;
use super::{Aims, Attack, AttackError, AttackStream, Milestone, Perturbed, Restarts, Victim};
use crate::image::{Batch, Images};
use crate::threat::{
    Goal, Range, Start, StepSize, ThreatModel, check_unit, project, steepest_step,
};
use serde::{Deserialize, Serialize};

/// What a PGD attack is, as plain data; [`Pgd::new`] checks it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PgdSettings {
    /// What is allowed.
    pub threat: ThreatModel,
    /// What is wanted.
    pub goal: Goal,
    /// Gradient steps per restart.
    pub steps: usize,
    /// Length of each.
    pub step_size: StepSize,
    /// Where a search starts.
    pub start: Start,
    /// Whether the start is clipped to the pixel range before the first gradient; the paper's code does not (T22).
    pub start_range: Range,
    /// Independent searches per image; the worst result counts. More than one needs a random start.
    pub restarts: u32,
}

/// Projected gradient descent: steps of steepest ascent, each projected back into the ball and the pixel range.
///
/// The last iterate of a restart is its result, as in the paper; restarts are compared per image.
/// Source: Madry et al. 2018; start, projection and last iterate as in the FAIR code.
#[derive(Clone, Debug, PartialEq)]
pub struct Pgd {
    settings: PgdSettings,
    loss: AttackLoss,
    name: String,
    step: f64,
}

impl Pgd {
    /// PGD with these settings, named `pgd-STEPS` or `pgd-STEPS-RESTARTS`.
    ///
    /// Errors: `Setting` for no restart, several restarts that would all be equal (T30), a probability outside
    /// `[0, 1]`; `Threat` for a step in the wrong unit.
    pub fn new(settings: PgdSettings) -> Result<Self, AttackError> {
        let name = match settings.restarts {
            1 => format!("pgd-{}", settings.steps),
            restarts => format!("pgd-{}-{restarts}", settings.steps),
        };
        Self::named(name, settings)
    }

    /// The fast gradient sign method: one step of epsilon from the image.
    ///
    /// Errors: none for a threat model that exists.
    /// Source: Goodfellow et al. 2015; with an L2 ball, its gradient is normalised.
    pub fn fgsm(threat: ThreatModel, goal: Goal) -> Result<Self, AttackError> {
        let step_size = StepSize::Fixed(threat.epsilon().clone());
        Self::named("fgsm".to_owned(), from_the_image(threat, goal, 1, step_size))
    }

    /// The basic iterative method: PGD from the image.
    ///
    /// Errors: `Threat` for a step in the wrong unit.
    /// Source: Kurakin et al. 2017.
    pub fn bim(
        threat: ThreatModel,
        goal: Goal,
        steps: usize,
        step_size: StepSize,
    ) -> Result<Self, AttackError> {
        Self::named(format!("bim-{steps}"), from_the_image(threat, goal, steps, step_size))
    }

    /// The same search on the margin instead of the cross-entropy, named `margin-...`.
    pub fn on_margin(mut self) -> Self {
        let prefix = goal_prefix(self.settings.goal);
        let base = self.name.strip_prefix(&prefix).expect("a name begins with its goal");
        self.name = format!("{prefix}margin-{base}");
        self.loss = AttackLoss::Margin;
        self
    }

    /// What was asked for.
    pub fn settings(&self) -> &PgdSettings {
        &self.settings
    }

    /// The step that results, in pixel units (T24).
    pub fn step(&self) -> f64 {
        self.step
    }

    fn named(name: String, settings: PgdSettings) -> Result<Self, AttackError> {
        let name = goal_prefix(settings.goal) + &name;
        let step = checked_step(&name, &settings.threat, &settings.step_size, settings.steps)?;
        let wrong = |setting, found: String, expected| {
            Err(AttackError::Setting { attack: name.clone(), setting, found, expected })
        };
        match settings.start {
            Start::CleanWithProbability { probability, .. }
                if !(0.0..=1.0).contains(&probability) =>
            {
                return wrong("start probability", probability.to_string(), "one in [0, 1]");
            }
            Start::Clean if settings.restarts > 1 => {
                let found = settings.restarts.to_string();
                let expected = "1 without a random start, since all restarts would be equal";
                return wrong("restarts", found, expected);
            }
            _ if settings.restarts == 0 => return wrong("restarts", "0".to_owned(), "at least 1"),
            _ => {}
        }
        Ok(Self { settings, loss: AttackLoss::CrossEntropy, name, step })
    }

    fn search(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        aims: &Aims,
        (stream, restart): (&AttackStream, u32),
        seen: &mut dyn FnMut(usize, &Images),
    ) -> Result<Images, AttackError> {
        let PgdSettings { threat, steps, start, start_range, .. } = &self.settings;
        let (norm, epsilon) = (threat.norm(), threat.epsilon().value());
        // Without a step no projection follows that would bring the start back into the pixel range.
        let range = if *steps == 0 { Range::Pixels } else { *start_range };
        let mut images = starting_points(*start, range, threat, batch, stream, restart);
        for step in 0..*steps {
            let mut moves = ascent(&self.name, step, victim, batch, &images, aims)?;
            for position in 0..batch.images.count {
                steepest_step(norm, moves.one_mut(position), self.step as f32);
                let image = images.one_mut(position);
                image.iter_mut().zip(moves.one(position)).for_each(|(pixel, m)| *pixel += m);
                project(norm, image, batch.images.one(position), epsilon, Range::Pixels);
            }
            seen(step + 1, &images);
        }
        Ok(images)
    }
}

impl Attack for Pgd {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        check_batch(victim, batch)?;
        let aims = Aims::resolve(self.settings.goal, self.loss, victim, batch, stream)?;
        let PgdSettings { steps, restarts, .. } = self.settings;
        worst_per_image(
            &self.name,
            steps,
            restarts,
            (victim, batch, stream),
            aims,
            &mut |victim, batch, aims, restart| {
                self.search(victim, batch, aims, (stream, restart), &mut |_, _| ())
            },
        )
    }

    fn restarts(&self) -> Option<Restarts> {
        let count = self.settings.restarts;
        let single =
            Self { settings: PgdSettings { restarts: 1, ..self.settings.clone() }, ..self.clone() };
        (count > 1).then(|| Restarts { single: Box::new(single), count })
    }

    fn resolved(&self) -> Vec<(&'static str, String)> {
        let PgdSettings { threat, goal, steps, start, restarts, .. } = &self.settings;
        vec![
            ("epsilon", threat.epsilon().written().to_owned()),
            ("goal", goal.to_string()),
            ("loss", self.loss.to_string()),
            ("restarts", restarts.to_string()),
            ("start", start.to_string()),
            ("step_size", self.step.to_string()),
            ("steps", steps.to_string()),
        ]
    }

    /// Between restarts an image that fell is not searched again, so several restarts have no common way.
    fn milestones(&self) -> Vec<Milestone> {
        let PgdSettings { threat, steps, step_size, restarts, .. } = &self.settings;
        let numbers = if *restarts == 1 { &MILESTONES[..] } else { &[] };
        let on_the_way = numbers.iter().filter(|&number| number < steps);
        let equals = |shorter: usize| {
            let same_step = step_size.resolve(threat.epsilon(), shorter) == self.step;
            let base = self.name.strip_suffix(&format!("-{steps}"))?;
            same_step.then(|| format!("{base}-{shorter}"))
        };
        on_the_way.map(|&steps| Milestone { steps, equals: equals(steps) }).collect()
    }

    fn perturb_along(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Vec<Perturbed>, AttackError> {
        let milestones = self.milestones();
        if milestones.is_empty() {
            return Ok(vec![self.perturb(victim, batch, stream)?]);
        }
        check_batch(victim, batch)?;
        let aims = Aims::resolve(self.settings.goal, self.loss, victim, batch, stream)?;
        let restart = stream.first_restart;
        let mut all = Vec::with_capacity(milestones.len() + 1);
        let end = self.search(victim, batch, &aims, (stream, restart), &mut |step, images| {
            if milestones.iter().any(|milestone| milestone.steps == step) {
                all.push(images.clone());
            }
        })?;
        all.push(end);
        let (targets, restarts) = (aims.into_targets(), vec![restart; batch.images.count]);
        let perturbed =
            |images| Perturbed { images, targets: targets.clone(), restarts: restarts.clone() };
        Ok(all.into_iter().map(perturbed).collect())
    }
}

/// The steps at which the paper's evaluation looks: 10, 20, ..., 100, ..., 1000, with 2000 as the end.
const MILESTONES: [usize; 19] =
    [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000];

fn from_the_image(
    threat: ThreatModel,
    goal: Goal,
    steps: usize,
    step_size: StepSize,
) -> PgdSettings {
    let (start, start_range) = (Start::Clean, Range::Pixels);
    PgdSettings { threat, goal, steps, step_size, start, start_range, restarts: 1 }
}

/// The gradient by the pixels of what the attack raises, summed over images, never averaged (T33).
///
/// Errors: the victim's; `NonFinite`, naming the image.
pub(super) fn ascent(
    attack: &str,
    step: usize,
    victim: &mut dyn Victim,
    batch: &Batch,
    images: &Images,
    aims: &Aims,
) -> Result<Images, AttackError> {
    let index = |position: usize| batch.indices[position];
    let (_, gradient) = gradients(attack, step, victim, images, index, &mut |row, logits, out| {
        aims.add_gradient(row, logits, out);
    })?;
    Ok(gradient)
}

/// What a goal adds to an attack's name (T25).
pub(super) fn goal_prefix(goal: Goal) -> String {
    match goal {
        Goal::Untargeted => String::new(),
        Goal::Targeted(_) => "targeted-".to_owned(),
    }
}

/// Errors: `Setting` for a factor that is no number or negative, `Threat` for a step in the wrong unit.
pub(super) fn checked_step(
    attack: &str,
    threat: &ThreatModel,
    step_size: &StepSize,
    steps: usize,
) -> Result<f64, AttackError> {
    match step_size {
        StepSize::Fixed(step) | StepSize::AtLeastEpsilonOverSteps(step) => {
            check_unit("step size", threat.norm(), step)?;
        }
        StepSize::TimesEpsilonOverSteps(factor) => {
            if !(factor.is_finite() && *factor >= 0.0) {
                return Err(AttackError::Setting {
                    attack: attack.to_owned(),
                    setting: "step factor",
                    found: factor.to_string(),
                    expected: "a number that is not negative",
                });
            }
        }
    }
    Ok(step_size.resolve(threat.epsilon(), steps))
}
