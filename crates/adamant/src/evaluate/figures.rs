//! From a tally to what is told: accuracies, intervals, work. Pure arithmetic on records.

use super::audit;
use super::flag::{at_chance, zero_gradients};
use super::header::Header;
use super::record::Outcome;
use super::tally::{Attacked, Tally};
use super::{
    AlongReport, AttackReport, ClassReport, DistanceReport, Evaluation, Proportion, Protocol,
    Verdict,
};
use std::collections::BTreeMap;

impl Evaluation {
    /// The figures of a tally.
    pub(super) fn of(header: &Header, tally: &Tally) -> Self {
        let verdicts: Vec<Verdict> = tally.verdicts.values().cloned().collect();
        let clean = proportion(&verdicts, Verdict::is_clean_right);
        let mut flags: Vec<_> = at_chance(clean, header.classes).into_iter().collect();
        let zero = tally.leads.values().filter(|leads| !**leads).count();
        flags.extend(zero_gradients(Proportion { count: zero, total: tally.leads.len() }));
        flags.extend(tally.flags.iter().cloned());
        let stands = |verdict: &Verdict| verdict.broken_by.is_none();
        let worst = match header.protocol {
            Protocol::WorstCase => Some(proportion(&verdicts, stands)),
            Protocol::Paper => None,
        };
        let attacks = 0..tally.attacks.len();
        let mut evaluation = Self {
            model: header.model.clone(),
            data: header.data.clone(),
            program: None,
            samples: verdicts.len(),
            part: None,
            seed: header.seed,
            precision: header.precision.clone(),
            protocol: header.protocol,
            threat: header.threat.clone(),
            branch: header.branch.clone(),
            attack_branch: header.attack_branch.clone(),
            clean_accuracy: clean.share(),
            clean_ci95: clean.wilson95(),
            attacks: attacks.map(|place| attack_report(header, tally, place)).collect(),
            worst_case_accuracy: worst.map(|worst| worst.share()),
            worst_case_ci95: worst.map(|worst| worst.wilson95()),
            classes: classes(header.protocol, &verdicts),
            curve: Vec::new(),
            branches: Vec::new(),
            fingerprint: header.fingerprint.clone(),
            flags,
            verdicts: Self::verdicts_name(),
            verdict_list: verdicts,
        };
        let by_figures = audit::figures::flags(&evaluation);
        evaluation.flags.extend(by_figures);
        evaluation
    }
}

fn attack_report(all: &Header, tally: &Tally, place: usize) -> AttackReport {
    let (attacked, samples) = (&tally.attacks[place], tally.verdicts.len());
    let header = &all.attacks[place];
    let is_low = all.precision != "f32";
    let outcomes = || attacked.outcomes.values();
    let of_all = |holds: &dyn Fn(&Outcome) -> bool| Proportion {
        count: outcomes().filter(|outcome| holds(outcome)).count(),
        total: samples,
    };
    let of_attacked = |count: usize| Proportion { count, total: attacked.outcomes.len() }.share();
    // Who goes for distances meets images again that others broke.
    let stood_before = |outcome: &Outcome| match all.protocol {
        Protocol::WorstCase => !tally.is_broken_before(place, outcome.image),
        Protocol::Paper => true,
    };
    let robust = of_all(&|outcome| outcome.broken.is_none() && stood_before(outcome));
    let along = header.along.iter().enumerate().map(|(place, (steps, equals))| {
        let letter = |outcome: &Outcome| outcome.along.as_bytes().get(place).copied();
        let right = of_all(&|outcome| letter(outcome) == Some(b'r'));
        AlongReport {
            steps: *steps,
            equals: equals.clone(),
            robust_accuracy: right.share(),
            ci95: right.wilson95(),
            success_rate: of_attacked(outcomes().filter(|o| letter(o) == Some(b't')).count()),
        }
    });
    AttackReport {
        name: header.name.clone(),
        robust_accuracy: robust.share(),
        ci95: robust.wilson95(),
        success_rate: of_attacked(outcomes().filter(|outcome| outcome.reached).count()),
        attacked: attacked.outcomes.len(),
        attacked_again: is_low.then(|| outcomes().filter(|outcome| outcome.again).count()),
        forward_passes: attacked.passes.forward,
        backward_passes: attacked.passes.backward,
        distances: header.tells_distances.then(|| distances(attacked)),
        seconds: attacked.seconds,
        settings: header.settings.clone(),
        along: along.collect(),
    }
}

fn distances(attacked: &Attacked) -> DistanceReport {
    let told = attacked.outcomes.values();
    let mut told: Vec<f64> = told.map(|o| o.distance.unwrap_or(f64::INFINITY)).collect();
    told.sort_by(f64::total_cmp);
    let middle = |from_above: usize| told.get((told.len() + from_above).saturating_sub(1) / 2);
    // Of an even number of images the mean of the two in the middle.
    let median = middle(0).zip(middle(1)).map(|(low, high)| 0.5 * (low + high));
    DistanceReport {
        found: told.iter().filter(|distance| distance.is_finite()).count(),
        median: median.filter(|median| median.is_finite()),
    }
}

/// Per true class; "robust" as the protocol counts it over all attacks.
fn classes(protocol: Protocol, verdicts: &[Verdict]) -> Vec<ClassReport> {
    let mut by_class: BTreeMap<u32, Vec<Verdict>> = BTreeMap::new();
    for verdict in verdicts {
        by_class.entry(verdict.label).or_default().push(verdict.clone());
    }
    let report = |(class, verdicts): (u32, Vec<Verdict>)| {
        let clean = proportion(&verdicts, Verdict::is_clean_right);
        let robust = proportion(&verdicts, |verdict| verdict.broken_by.is_none());
        let worst = (protocol == Protocol::WorstCase).then_some(robust);
        ClassReport {
            class,
            samples: verdicts.len(),
            clean_accuracy: clean.share(),
            clean_ci95: clean.wilson95(),
            worst_case_accuracy: worst.map(|worst| worst.share()),
            worst_case_ci95: worst.map(|worst| worst.wilson95()),
        }
    };
    by_class.into_iter().map(report).collect()
}

fn proportion(verdicts: &[Verdict], holds: impl Fn(&Verdict) -> bool) -> Proportion {
    Proportion {
        count: verdicts.iter().filter(|verdict| holds(verdict)).count(),
        total: verdicts.len(),
    }
}
