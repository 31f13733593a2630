//! From a tally to what is told: accuracies, intervals, work. Pure arithmetic on records.

use super::audit;
use super::flag::{at_chance, zero_gradients};
use super::header::Header;
use super::record::Outcome;
use super::tally::{Attacked, Tally};
use super::{AlongReport, AttackReport, ClassReport, Evaluation, Proportion, Protocol, Verdict};
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
        let attacks = tally.attacks.iter().enumerate();
        let mut evaluation = Self {
            model: header.model.clone(),
            data: header.data.clone(),
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
            attacks: attacks
                .map(|(place, a)| attack_report(header, place, a, verdicts.len()))
                .collect(),
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

fn attack_report(all: &Header, place: usize, attacked: &Attacked, samples: usize) -> AttackReport {
    let header = &all.attacks[place];
    let is_low = all.precision != "f32";
    let outcomes = || attacked.outcomes.values();
    let of_all = |holds: &dyn Fn(&Outcome) -> bool| Proportion {
        count: outcomes().filter(|outcome| holds(outcome)).count(),
        total: samples,
    };
    let of_attacked = |count: usize| Proportion { count, total: attacked.outcomes.len() }.share();
    let robust = of_all(&|outcome| outcome.broken.is_none());
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
        seconds: attacked.seconds,
        settings: header.settings.clone(),
        along: along.collect(),
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
