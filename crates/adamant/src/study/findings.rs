//! A study's tests held against its records, regime by regime.

use super::contrast::Contrast;
use super::record::CellRecord;
use super::spearman::trend;
use super::verdict::{Verdict, of_estimate, of_trend};
use super::written::{Rule, Study, Test};
use serde::{Deserialize, Serialize};

/// What the data says of one claim in one regime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Such as `C1`.
    pub claim: String,
    /// What was compared.
    pub what: String,
    /// The regime's name.
    pub regime: String,
    /// The number: a share, a share per doubling, or a rank correlation; none without a seed that has every arm.
    pub value: Option<f64>,
    /// Its 95 % interval, where it has ends.
    pub interval: Option<[f64; 2]>,
    /// Whether the number is a rank correlation.
    pub is_correlation: bool,
    /// Seeds behind it.
    pub seeds: usize,
    /// Images behind each figure.
    pub samples: usize,
    /// An effect below this is none.
    pub resolution: f64,
    /// Compared arms with a cell that guesses: it has learnt nothing, and the number says nothing of the claim.
    pub at_chance: Vec<String>,
    /// The word.
    pub verdict: Verdict,
}

/// Every test in every regime of which there are records.
///
/// A cell whose training failed has no figures: its seed does not count.
pub fn judge(study: &Study, records: &[CellRecord]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for regime in &study.regimes {
        let own: Vec<&CellRecord> = records.iter().filter(|r| r.regime == regime.name).collect();
        if own.is_empty() {
            continue;
        }
        let of = |test: &Test| finding(study, test, &regime.name, &own);
        findings.extend(study.tests.iter().map(of));
    }
    findings
}

fn finding(study: &Study, test: &Test, regime: &str, records: &[&CellRecord]) -> Finding {
    let mut finding = Finding {
        claim: test.claim.clone(),
        what: test.what.clone(),
        regime: regime.to_string(),
        value: None,
        interval: None,
        is_correlation: matches!(test.rule, Rule::Trend { .. }),
        seeds: 0,
        samples: 0,
        resolution: test.resolution,
        at_chance: guessing(test, records),
        verdict: Verdict::Undecided,
    };
    match &test.rule {
        Rule::Contrast { plus, minus, weights } => {
            let contrast = Contrast::new(study, test, records, plus, minus, *weights);
            if let Some(e) = contrast.and_then(|c| c.estimate(records)) {
                finding.value = Some(e.value);
                finding.interval = e.interval[0].is_finite().then_some(e.interval);
                (finding.seeds, finding.samples) = (e.seeds, e.samples);
                finding.verdict = of_estimate(&e, test.expect, test.resolution);
            }
        }
        Rule::Trend { arms } => {
            let places = arms.iter().filter_map(|arm| Some((arm.clone(), study.arm(arm)?.x?)));
            let places: Vec<(String, f64)> = places.collect();
            if let Some(t) = trend(&places, &test.quantity, records) {
                finding.value = Some(t.correlation);
                (finding.seeds, finding.samples) = (t.seeds, t.samples);
                finding.verdict = of_trend(&t, test.expect, test.resolution);
            }
        }
    }
    if !finding.at_chance.is_empty() {
        finding.verdict = Verdict::Undecided;
    }
    finding
}

/// The arms of a test of which some cell guesses.
fn guessing(test: &Test, records: &[&CellRecord]) -> Vec<String> {
    let arms: Vec<&String> = match &test.rule {
        Rule::Contrast { plus, minus, .. } => plus.iter().chain(minus).collect(),
        Rule::Trend { arms } => arms.iter().collect(),
    };
    let guesses = |arm: &&String| records.iter().any(|r| r.arm == **arm && r.is_at_chance());
    arms.into_iter().filter(guesses).cloned().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::quantity::Quantity;
    use super::super::record::{AttackRecord, EvaluationRecord};
    use super::*;
    use crate::evaluate::Protocol;
    use crate::train::record::Machine;

    /// The figure that the records of these tests have.
    pub fn robust() -> Quantity {
        Quantity { evaluation: "robust".into(), attack: "pgd-20".into(), less: None }
    }

    /// A record with 10,000 images, 0.9 clean and `accuracy` under PGD-20.
    pub fn record(arm: &str, seed: u64, accuracy: f64) -> CellRecord {
        let attack =
            AttackRecord { name: "pgd-20".into(), accuracy, success: 0.0, along: vec![(10, 0.9)] };
        let evaluation = EvaluationRecord {
            name: "robust".into(),
            protocol: Protocol::WorstCase,
            threat: "Linf 0.1".into(),
            branch: "adversarial".into(),
            attack_branch: "adversarial".into(),
            samples: 10_000,
            seed,
            precision: "f32".into(),
            clean: 0.9,
            worst_case: Some(accuracy),
            attacks: vec![attack],
            flags: Vec::new(),
            images: None,
        };
        CellRecord {
            study: "some".into(),
            regime: "here".into(),
            arm: arm.into(),
            seed,
            key: "0".into(),
            recipe: Default::default(),
            version: "0".into(),
            revision: "unknown".into(),
            dirty: false,
            machine: Machine {
                system: "linux".into(),
                architecture: "x86_64".into(),
                processor: "any".into(),
                kernel: "portable".into(),
                threads: 1,
            },
            precision: "f32".into(),
            parameters: 1,
            macs: 1,
            steps: 1,
            work: 1.0,
            train_seconds: 1.0,
            judge_seconds: 1.0,
            lent_by: None,
            statistics: None,
            error: None,
            training: None,
            evaluations: vec![evaluation],
        }
    }

    /// Arms `a` and `b` at x 1 and 2 and `c` at 4, tested against each other and for a rise.
    pub const SOME: &str = "
name = 'some'
title = 'Some'
question = 'Which?'
base = 'quickstart'
seeds = [0, 1, 2]
show = [{ evaluation = 'robust', attack = 'pgd-20' }]
[[regime]]
name = 'here'
title = 'Here'
[[arm]]
name = 'a'
title = 'A'
x = 1.0
[[arm]]
name = 'b'
title = 'B'
x = 2.0
[[arm]]
name = 'c'
title = 'C'
x = 4.0
[[evaluate]]
name = 'robust'
attacks = ['pgd-20']
[[test]]
claim = 'C1'
what = 'b less a'
rule = 'contrast'
plus = ['b']
minus = ['a']
quantity = { evaluation = 'robust', attack = 'pgd-20' }
expect = 'above'
resolution = 0.02
[[test]]
claim = 'C2'
what = 'a, b, c'
rule = 'trend'
arms = ['a', 'b', 'c']
quantity = { evaluation = 'robust', attack = 'pgd-20' }
expect = 'below'
resolution = 0.02
[[test]]
claim = 'C11'
what = 'gain per doubling'
rule = 'contrast'
plus = ['a', 'b', 'c']
weights = 'slope-per-doubling'
quantity = { evaluation = 'robust', attack = 'pgd-20' }
expect = 'above'
resolution = 0.02
[quick]
base = 'quickstart'
seeds = [0]
samples = 10
";

    #[test]
    fn every_test_has_its_word_and_records_of_other_regimes_do_not_count() {
        let study = Study::parse(SOME, "some.toml").unwrap();
        let mut records = Vec::new();
        for seed in 0..3 {
            for (arm, accuracy) in [("a", 0.4), ("b", 0.5), ("c", 0.6)] {
                records.push(record(arm, seed, accuracy));
            }
        }
        let findings = judge(&study, &records);
        let words: Vec<Verdict> = findings.iter().map(|f| f.verdict).collect();
        assert_eq!(words, [Verdict::Consistent, Verdict::Contradicted, Verdict::Consistent]);
        assert!((findings[2].value.unwrap() - 0.1).abs() < 1e-12, "0.1 a doubling");
        assert_eq!((findings[0].seeds, findings[0].samples), (3, 10_000));
        records.iter_mut().for_each(|record| record.regime = "elsewhere".into());
        assert_eq!(judge(&study, &records), []);
    }

    #[test]
    fn an_arm_that_was_not_run_leaves_a_claim_undecided_and_shortens_a_slope() {
        let study = Study::parse(SOME, "some.toml").unwrap();
        let cells = (0..3).flat_map(|s| [record("a", s, 0.4), record("c", s, 0.6)]);
        let findings = judge(&study, &cells.collect::<Vec<_>>());
        assert_eq!((findings[0].verdict, findings[0].value), (Verdict::Undecided, None));
        assert!((findings[2].value.unwrap() - 0.1).abs() < 1e-12);
    }

    #[test]
    fn an_arm_that_guesses_in_one_seed_leaves_what_compares_it_undecided() {
        let study = Study::parse(SOME, "some.toml").unwrap();
        let mut records: Vec<CellRecord> =
            (0..3).flat_map(|s| [record("a", s, 0.1), record("b", s, 0.5)]).collect();
        records[2].evaluations[0].flags.push("at-chance".into());
        let findings = judge(&study, &records);
        assert_eq!(findings[0].at_chance, ["a"]);
        assert_eq!(findings[0].verdict, Verdict::Undecided);
        assert!((findings[0].value.unwrap() - 0.4).abs() < 1e-12, "the number stays");
        records[2].evaluations[0].flags[0] = "gradients-disagree".into();
        let findings = judge(&study, &records);
        assert_eq!((findings[0].at_chance.len(), findings[0].verdict), (0, Verdict::Consistent));
    }

    #[test]
    fn a_name_that_the_study_does_not_have_is_refused() {
        let text = SOME.replace("plus = ['b']", "plus = ['d']");
        let error = Study::parse(&text, "some.toml").unwrap_err().to_string();
        assert_eq!(error, "some: the test of C1 names d, expected one of a, b, c");
        let text = SOME.replace("evaluation = 'robust'", "evaluation = 'robus'");
        let error = Study::parse(&text, "some.toml").unwrap_err().to_string();
        assert_eq!(
            error,
            "some: a quantity names robus, expected one of robust, training, statistics"
        );
        let text = SOME.replace("'robust'", "'training'");
        let error = Study::parse(&text, "some.toml").unwrap_err().to_string();
        assert!(error.starts_with("some: no evaluation may be called training"), "{error}");
        let error = Study::parse("name = 3", "some.toml").unwrap_err().to_string();
        assert!(error.starts_with("some.toml: "), "{error}");
    }
}
