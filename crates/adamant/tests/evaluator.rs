//! The evaluator on a network small enough to know every answer: two pixels, two classes, linear.

use adamant::attack::{
    Attack, AttackDefaults, AttackError, AttackStream, Perturbed, Restarts, Victim, parse,
};
use adamant::evaluate::{EvaluateError, Evaluation, Evaluator, Protocol, Samples, Silent, Subject};
use adamant::image::{Batch, Images, Logits, Shape};
use adamant::threat::{Epsilon, Norm, ThreatModel};
use engine::{EngineError, Frozen, ImagesView, Precision, Session};
use network::Domain;
use std::sync::{Arc, Mutex};

const SHAPE: Shape = Shape::new(1, 1, 2);

/// Class 0 where `weight . pixels + bias` is negative, class 1 where it is positive.
#[derive(Clone, Copy)]
struct Linear {
    weight: [f32; 2],
    bias: f32,
}

impl Linear {
    fn margin(&self, pixels: &[f32]) -> f32 {
        self.weight[0] * pixels[0] + self.weight[1] * pixels[1] + self.bias
    }
}

impl Frozen for Linear {
    type Session<'a> = LinearSession<'a>;
    fn session(&self) -> LinearSession<'_> {
        LinearSession(self)
    }
    fn tile(&self) -> usize {
        3
    }
    fn input(&self) -> Shape {
        SHAPE
    }
    fn classes(&self) -> usize {
        2
    }
}

struct LinearSession<'a>(&'a Linear);

impl Session for LinearSession<'_> {
    fn logits(&mut self, images: ImagesView<'_>) -> Result<Logits, EngineError> {
        let mut logits = Logits::zeros(images.count, 2);
        for (position, pixels) in images.pixels.chunks_exact(2).enumerate() {
            logits.row_mut(position)[1] = self.0.margin(pixels);
        }
        Ok(logits)
    }

    fn input_gradient(
        &mut self,
        images: ImagesView<'_>,
        loss: &mut dyn FnMut(&Logits, usize, &mut Logits),
    ) -> Result<(Logits, Vec<f32>), EngineError> {
        let logits = self.logits(images)?;
        let mut gradient = Logits::zeros(images.count, 2);
        loss(&logits, 0, &mut gradient);
        let pixels = (0..images.count)
            .flat_map(|image| self.0.weight.map(|weight| weight * gradient.row(image)[1]))
            .collect();
        Ok((logits, pixels))
    }
}

/// What a test attack does to each image.
type Change = Arc<dyn Fn(&[f32], u64) -> Vec<f32> + Send + Sync>;

/// An attack that does as told and remembers whom it met.
struct Scripted {
    name: &'static str,
    change: Change,
    targets: Option<fn(u32) -> u32>,
    shape: Shape,
    met: Arc<Mutex<Vec<u64>>>,
}

impl Scripted {
    fn new(
        name: &'static str,
        change: impl Fn(&[f32], u64) -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        Self { name, change: Arc::new(change), targets: None, shape: SHAPE, met: Arc::default() }
    }
}

impl Attack for Scripted {
    fn name(&self) -> String {
        self.name.to_string()
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        _stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        // One forward and one gradient per image, so that the work is known.
        victim.logits(&batch.images)?;
        victim.input_gradient(&batch.images, &mut |_, _, _| ())?;
        self.met.lock().expect("no test panics here").extend(&batch.indices);
        let pixels = (0..batch.images.count)
            .flat_map(|image| (self.change)(batch.images.one(image), batch.indices[image]))
            .collect();
        Ok(Perturbed {
            images: Images { count: batch.images.count, shape: self.shape, pixels },
            targets: self.targets.map(|target| batch.labels.iter().map(|&l| target(l)).collect()),
            restarts: vec![0; batch.images.count],
        })
    }
}

/// An attack of two searches: the first pushes images of even index, the second those of odd index.
#[derive(Clone)]
struct TwoSearches {
    targets: Option<fn(u32) -> u32>,
    met: Arc<Mutex<Vec<(u32, u64)>>>,
}

impl Attack for TwoSearches {
    fn name(&self) -> String {
        "two".to_string()
    }

    fn perturb(
        &self,
        victim: &mut dyn Victim,
        batch: &Batch,
        stream: &AttackStream,
    ) -> Result<Perturbed, AttackError> {
        let restart = stream.first_restart;
        let met = batch.indices.iter().map(|&index| (restart, index));
        self.met.lock().expect("no test panics here").extend(met);
        let even_odd = move |pixels: &[f32], index: u64| {
            let by = if index % 2 == u64::from(restart) { -0.25 } else { 0.0 };
            vec![pixels[0] + by, pixels[1]]
        };
        let mut single = Scripted::new("two", even_odd);
        single.targets = self.targets;
        let perturbed = single.perturb(victim, batch, stream)?;
        Ok(Perturbed { restarts: vec![restart; batch.images.count], ..perturbed })
    }

    fn restarts(&self) -> Option<Restarts> {
        Some(Restarts { single: Box::new(self.clone()), count: 2 })
    }
}

/// Class 1 where the first pixel is above one half.
const HALF: Linear = Linear { weight: [1.0, 0.0], bias: -0.5 };

/// Ten images, first pixels 0.05, 0.15, ..., 0.95; all labelled 1, so that `HALF` is right on the last five.
fn ramp() -> Batch {
    let pixels = (0..10).flat_map(|i| [0.05 + 0.1 * i as f32, 0.5]).collect();
    Batch {
        images: Images { count: 10, shape: SHAPE, pixels },
        labels: vec![1; 10],
        indices: (0..10).collect(),
    }
}

/// Moves the first pixel by `by`, within the pixel range.
fn shift(by: f32) -> impl Fn(&[f32], u64) -> Vec<f32> + Send + Sync {
    move |pixels, _| vec![(pixels[0] + by).clamp(0.0, 1.0), pixels[1]]
}

fn evaluator(attacks: Vec<Box<dyn Attack>>) -> Evaluator {
    let epsilon: Epsilon = "0.25".parse().expect("a number");
    Evaluator {
        threat: ThreatModel::new(Norm::Linf, epsilon).expect("within the pixel range"),
        attacks,
        protocol: Protocol::WorstCase,
        branch: Domain::CLEAN,
        attack_branch: Domain::CLEAN,
        precision: Precision::F32,
        samples: Samples::All,
        seed: 0,
        batch_size: 4,
    }
}

fn run(evaluator: &Evaluator, judged: Linear, data: &Batch) -> Result<Evaluation, EvaluateError> {
    let subject = Subject { model: "linear".into(), data: "ramp".into() };
    evaluator.run(&HALF, &judged, subject, data, &mut Silent)
}

fn boxed(attack: Scripted) -> Box<dyn Attack> {
    Box::new(attack)
}

mod g8_restarts {
    use super::*;

    /// Five images of first pixels 0.55 to 0.75, labelled 1: each falls when pushed by 0.25.
    fn five() -> Batch {
        let pixels = (0..5).flat_map(|i| [0.55 + 0.04 * i as f32, 0.5]).collect();
        Batch {
            images: Images { count: 5, shape: SHAPE, pixels },
            labels: vec![1; 5],
            indices: (0..5).collect(),
        }
    }

    #[test]
    fn images_that_fall_to_different_restarts_all_count_and_none_is_searched_again() {
        let attack = TwoSearches { targets: None, met: Arc::default() };
        let met = attack.met.clone();
        let report = run(&evaluator(vec![Box::new(attack)]), HALF, &five()).unwrap();
        assert_eq!(report.worst_case_accuracy, Some(0.0));
        let restarts: Vec<_> =
            report.verdict_list.iter().map(|verdict| verdict.restart.unwrap()).collect();
        assert_eq!(restarts, [0, 1, 0, 1, 0]);
        let mut met = met.lock().unwrap().clone();
        met.sort_unstable();
        assert_eq!(met, [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 3)]);
        // Seven searches of a logits call, a gradient call and the judge's forward each.
        assert_eq!(report.attacks[0].forward_passes, 21);
        assert_eq!(report.attacks[0].backward_passes, 7);
    }

    #[test]
    fn an_image_wrong_at_another_class_than_the_target_is_broken_and_searched_on() {
        let attack = TwoSearches { targets: Some(|label| label + 7), met: Arc::default() };
        let met = attack.met.clone();
        let report = run(&evaluator(vec![Box::new(attack)]), HALF, &five()).unwrap();
        assert_eq!(report.attacks[0].robust_accuracy, 0.0, "wrong once is broken");
        assert_eq!(report.attacks[0].success_rate, 0.0, "no target is reached");
        assert_eq!(met.lock().unwrap().len(), 10, "every restart tries again");
    }

    #[test]
    fn restarts_judged_one_by_one_break_what_the_attack_as_a_whole_breaks() {
        let epsilon: Epsilon = "0.25".parse().unwrap();
        let threat = ThreatModel::new(Norm::Linf, epsilon).unwrap();
        let noise = || parse("noise-6", &AttackDefaults::new(threat.clone())).unwrap();
        let worst = run(&evaluator(vec![noise()]), HALF, &five()).unwrap();
        // The paper's protocol takes the attack's own choice; network and judge are one here.
        let paper = Evaluator { protocol: Protocol::Paper, ..evaluator(vec![noise()]) };
        let paper = run(&paper, HALF, &five()).unwrap();
        assert_eq!(worst.verdict_list, paper.verdict_list);
        let robust = worst.attacks[0].robust_accuracy;
        assert!(robust > 0.0 && robust < 1.0, "both outcomes occur: {robust}");
    }
}

mod g13_work {
    use super::*;

    #[test]
    fn an_image_wrong_when_clean_or_already_broken_is_never_attacked_again() {
        let first = Scripted::new("first", shift(-0.1));
        let second = Scripted::new("second", shift(-0.2));
        let (met_first, met_second) = (first.met.clone(), second.met.clone());
        let report = run(&evaluator(vec![boxed(first), boxed(second)]), HALF, &ramp()).unwrap();

        let sorted = |met: Arc<Mutex<Vec<u64>>>| {
            let mut met = met.lock().unwrap().clone();
            met.sort_unstable();
            met
        };
        // Clean: 0.55 to 0.95 are right. Moved by 0.1: 0.55 falls. Moved by 0.2: 0.65 falls.
        assert_eq!(sorted(met_first), [5, 6, 7, 8, 9]);
        assert_eq!(sorted(met_second), [6, 7, 8, 9]);
        assert_eq!(report.clean_accuracy, 0.5);
        assert_eq!(report.attacks[0].robust_accuracy, 0.4);
        assert_eq!(report.attacks[1].robust_accuracy, 0.3);
        assert_eq!(report.worst_case_accuracy, Some(0.3));
        assert_eq!(report.attacks[0].success_rate, 0.2);
        assert_eq!(report.attacks[1].success_rate, 0.25);
        // One logits call, one gradient call (a forward and a backward) and the judge's forward for each image.
        let work = |attack: usize| {
            (report.attacks[attack].forward_passes, report.attacks[attack].backward_passes)
        };
        assert_eq!(work(0), (15, 5));
        assert_eq!(work(1), (12, 4));
    }

    #[test]
    fn each_verdict_says_what_broke_the_image_and_by_how_much() {
        let attack = Scripted::new("push", shift(-0.1));
        let report = run(&evaluator(vec![boxed(attack)]), HALF, &ramp()).unwrap();
        let broken_by: Vec<_> =
            report.verdict_list.iter().map(|verdict| verdict.broken_by.as_deref()).collect();
        let (clean, push) = (Some("clean"), Some("push"));
        assert_eq!(broken_by, [clean, clean, clean, clean, clean, push, None, None, None, None]);
        let fallen = &report.verdict_list[5];
        assert_eq!((fallen.prediction, fallen.clean_prediction, fallen.restart), (0, 1, Some(0)));
        assert!((fallen.norm.unwrap() - 0.1).abs() < 1e-6);
    }
}

mod g14_judgement {
    use super::*;

    fn fault(change: impl Fn(&[f32], u64) -> Vec<f32> + Send + Sync + 'static) -> String {
        let attack = Scripted::new("cheat", change);
        run(&evaluator(vec![boxed(attack)]), HALF, &ramp()).unwrap_err().to_string()
    }

    #[test]
    fn an_attack_that_leaves_the_ball_is_an_error_that_names_it() {
        let message = fault(|pixels, index| {
            vec![pixels[0] - if index == 7 { 0.251 } else { 0.1 }, pixels[1]]
        });
        assert!(message.starts_with("attack cheat: image 7 is moved by 0.251"), "{message}");
        assert!(message.ends_with("the threat allows Linf up to 0.25"), "{message}");
    }

    #[test]
    fn rounding_at_the_border_of_the_ball_is_forgiven() {
        let attack = Scripted::new("edge", |p: &[f32], _| vec![p[0] - 0.250_000_5, p[1]]);
        assert!(run(&evaluator(vec![boxed(attack)]), HALF, &ramp()).is_ok());
    }

    #[test]
    fn a_pixel_outside_the_range_or_not_a_number_is_an_error_that_names_attack_and_image() {
        let above = fault(|pixels, _| vec![pixels[0] + 0.2, pixels[1]]);
        assert!(above.starts_with("attack cheat: image 8 has a pixel 1.05"), "{above}");
        let nan =
            fault(|pixels, index| vec![if index == 6 { f32::NAN } else { pixels[0] }, pixels[1]]);
        assert_eq!(nan, "attack cheat: image 6 has a pixel NaN, not a finite number");
    }

    #[test]
    fn images_of_another_shape_are_an_error_that_names_the_attack() {
        let message = fault(|pixels, _| vec![pixels[0]]);
        assert!(message.contains("cheat") && message.contains("expected"), "{message}");
        // As many pixels, but columns made rows.
        let mut turned = Scripted::new("turned", shift(0.0));
        turned.shape = Shape::new(1, 2, 1);
        let error = run(&evaluator(vec![boxed(turned)]), HALF, &ramp()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("turned") && message.contains("[1, 2, 1]"), "{message}");
    }

    #[test]
    fn a_target_that_is_the_true_class_is_an_error_that_names_the_attack() {
        let mut attack = Scripted::new("targeted-cheat", shift(0.0));
        attack.targets = Some(|label| label);
        let error = run(&evaluator(vec![boxed(attack)]), HALF, &ramp()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("targeted-cheat") && message.contains("true class"), "{message}");
    }

    #[test]
    fn a_success_against_the_attacked_network_that_the_judge_does_not_share_does_not_count() {
        // The attacked network changes its mind at 0.5, the judge only at 0.3.
        let judge = Linear { weight: [1.0, 0.0], bias: -0.3 };
        let attack = Scripted::new("push", shift(-0.1));
        let report = run(&evaluator(vec![boxed(attack)]), judge, &ramp()).unwrap();
        assert_eq!(report.clean_accuracy, 0.7);
        assert_eq!(report.worst_case_accuracy, Some(0.6));
    }

    #[test]
    fn a_network_whose_logits_are_no_numbers_is_not_judged() {
        let broken = Linear { weight: [f32::NAN, 0.0], bias: 0.0 };
        let error = run(&evaluator(vec![]), broken, &ramp()).unwrap_err();
        assert!(matches!(error, EvaluateError::NonFiniteLogits { index: 0 }), "{error}");
    }

    #[test]
    fn a_label_beyond_the_classes_and_images_of_another_shape_are_refused() {
        let mut data = ramp();
        data.labels[3] = 2;
        let error = run(&evaluator(vec![]), HALF, &data).unwrap_err();
        assert_eq!(error.to_string(), "image 3 has label 2, the model has 2 classes");

        let data = Batch {
            images: Images::zeros(1, Shape::new(3, 2, 2)),
            labels: vec![0],
            indices: vec![0],
        };
        let message = run(&evaluator(vec![]), HALF, &data).unwrap_err().to_string();
        assert!(message.contains("[1, 1, 2]") && message.contains("[3, 2, 2]"), "{message}");
    }
}

mod g15_targets {
    use super::*;

    #[test]
    fn a_targeted_success_is_the_target_and_robust_accuracy_counts_what_is_still_right() {
        let mut attack = Scripted::new("targeted-push", shift(-0.1));
        attack.targets = Some(|label| 1 - label);
        let report = run(&evaluator(vec![boxed(attack)]), HALF, &ramp()).unwrap();
        assert_eq!(report.threat.goal, "targeted");
        // Five right images are attacked, one reaches its target, which with two classes is any wrong one.
        assert_eq!(report.attacks[0].success_rate, 0.2);
        assert_eq!(report.attacks[0].robust_accuracy, 0.4);

        let mut attack = Scripted::new("targeted-push", shift(-0.1));
        attack.targets = Some(|label| label + 7);
        let report = run(&evaluator(vec![boxed(attack)]), HALF, &ramp()).unwrap();
        assert_eq!(report.attacks[0].success_rate, 0.0, "wrong is not the target");
        assert_eq!(report.attacks[0].robust_accuracy, 0.4, "and wrong all the same");
    }
}

mod g33_protocols {
    use super::*;

    /// Pushes up: images at 0.35 and 0.45, wrong as they are, become right; none becomes wrong.
    #[test]
    fn an_image_wrong_when_clean_and_right_after_the_attack_counts_in_the_paper_protocol_only() {
        let up = || vec![boxed(Scripted::new("push", shift(0.2)))];
        let worst = run(&evaluator(up()), HALF, &ramp()).unwrap();
        assert_eq!(worst.protocol, Protocol::WorstCase);
        assert_eq!(worst.attacks[0].robust_accuracy, 0.5);
        assert_eq!(worst.attacks[0].attacked, 5);

        let paper = Evaluator { protocol: Protocol::Paper, ..evaluator(up()) };
        let paper = run(&paper, HALF, &ramp()).unwrap();
        assert_eq!(paper.protocol, Protocol::Paper);
        assert_eq!(paper.attacks[0].robust_accuracy, 0.7);
        assert_eq!(paper.attacks[0].attacked, 10);
        assert_eq!(paper.worst_case_accuracy, None, "the protocols are never mixed");
    }

    #[test]
    fn exactly_n_images_are_counted_for_any_batch_size() {
        let mut reports = Vec::new();
        for batch_size in [1, 3, 7, 10, 64] {
            let attacks = vec![boxed(Scripted::new("push", shift(-0.1)))];
            let report = run(&Evaluator { batch_size, ..evaluator(attacks) }, HALF, &ramp());
            reports.push(report.unwrap());
        }
        assert_eq!(reports[0].samples, 10);
        assert_eq!(reports[0].verdict_list.len(), 10);
        for report in &reports[1..] {
            assert_eq!(report, &reports[0]);
        }
    }

    #[test]
    fn the_report_names_protocol_threat_attack_seed_number_and_intervals() {
        let attacks = vec![boxed(Scripted::new("pgd-20", shift(-0.1)))];
        let settings = Evaluator { samples: Samples::Some(8), seed: 3, ..evaluator(attacks) };
        let report = run(&settings, HALF, &ramp()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["protocol"], "worst-case");
        assert_eq!(
            json["threat"],
            serde_json::json!({"norm": "Linf", "epsilon": "0.25", "goal": "untargeted"})
        );
        assert_eq!((&json["samples"], &json["seed"]), (&8.into(), &3.into()));
        assert_eq!(json["attacks"][0]["name"], "pgd-20");
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        for key in [
            "model",
            "data",
            "samples",
            "seed",
            "precision",
            "threat",
            "branch",
            "attack_branch",
            "clean_accuracy",
            "clean_ci95",
            "attacks",
            "worst_case_accuracy",
            "worst_case_ci95",
            "flags",
            "verdicts",
        ] {
            assert!(keys.contains(&key), "{key} is missing of {keys:?}");
        }
        for key in [
            "name",
            "robust_accuracy",
            "ci95",
            "success_rate",
            "forward_passes",
            "backward_passes",
            "seconds",
        ] {
            assert!(json["attacks"][0].get(key).is_some(), "{key} is missing");
        }
        let interval = json["clean_ci95"].as_array().unwrap();
        let accuracy = json["clean_accuracy"].as_f64().unwrap();
        assert!(interval[0].as_f64().unwrap() < accuracy);
        assert!(accuracy < interval[1].as_f64().unwrap());
    }

    #[test]
    fn the_files_are_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let attacks = vec![boxed(Scripted::new("push", shift(-0.1)))];
        let report = run(&evaluator(attacks), HALF, &ramp()).unwrap();
        report.write(folder.path()).unwrap();
        let figures = std::fs::read_to_string(folder.path().join("evaluation.json")).unwrap();
        let verdicts = std::fs::read_to_string(folder.path().join("verdicts.jsonl")).unwrap();
        let mut read: Evaluation = serde_json::from_str(&figures).unwrap();
        read.verdict_list =
            verdicts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, report);
        assert!(verdicts.lines().next().unwrap().starts_with(
            r#"{"index":0,"label":1,"clean_prediction":0,"broken_by":"clean","prediction":0,"norm":null,"restart":null}"#
        ));
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing unfinished stays"
        );
    }

    #[test]
    fn a_model_that_guesses_and_a_loss_without_gradient_are_flagged() {
        // Class 1 for everything, and half of the labels say 0: right by chance, and no pixel matters.
        let constant = Linear { weight: [0.0, 0.0], bias: 1.0 };
        let mut data = ramp();
        data.labels = (0..10).map(|i| i % 2).collect();
        let settings = evaluator(vec![boxed(Scripted::new("push", shift(-0.1)))]);
        let subject = Subject { model: "constant".into(), data: "ramp".into() };
        let report = settings.run(&constant, &constant, subject, &data, &mut Silent).unwrap();
        let names: Vec<_> = report.flags.iter().map(|flag| flag.name.as_str()).collect();
        assert_eq!(names, ["at-chance", "zero-gradients"]);
        assert!(report.flags[1].found.starts_with("5 of 5"), "{}", report.flags[1].found);

        data.labels = (0..10).map(|i| u32::from(i >= 5)).collect();
        let honest = run(&settings, HALF, &data).unwrap();
        assert_eq!(honest.flags, [], "an honest network raises none");
    }
}

mod g4_nulls {
    use super::*;

    #[test]
    fn an_attack_that_moves_nothing_leaves_the_clean_accuracy() {
        let report =
            run(&evaluator(vec![boxed(Scripted::new("still", shift(0.0)))]), HALF, &ramp())
                .unwrap();
        assert_eq!(report.attacks[0].robust_accuracy, report.clean_accuracy);
        assert_eq!(report.attacks[0].success_rate, 0.0);
    }
}

mod g9_distances {
    use super::*;
    use adamant::evaluate::audit::Networks;
    use adamant::evaluate::{Conduct, Distances};

    #[test]
    fn distances_are_those_to_the_boundary_for_images_that_other_attacks_broke_too() {
        let named = |name| parse(name, &AttackDefaults::new(evaluator(vec![]).threat)).unwrap();
        let push = boxed(Scripted::new("push", shift(-0.1)));
        let evaluator = evaluator(vec![push, named("deepfool"), named("fab")]);
        let run = |distances| {
            let conduct = Conduct { distances, ..Conduct::default() };
            let subject = Subject { model: "linear".into(), data: "ramp".into() };
            let networks = Networks::new(&HALF, &HALF);
            evaluator.conduct_frozen(&networks, subject, &ramp(), &mut Silent, conduct).unwrap()
        };
        let told = run(Distances::Told);
        for attack in &told.attacks[1..] {
            let distances = attack.distances.as_ref().unwrap();
            assert_eq!((attack.attacked, distances.found), (5, 5), "{}", attack.name);
            // The third of five: 0.75 is 0.25 from 0.5.
            assert!((distances.median.unwrap() / 0.25 - 1.0).abs() < 0.01, "{distances:?}");
        }
        for (verdict, exact) in told.verdict_list[5..].iter().zip([0.05, 0.15, 0.25, 0.35, 0.45]) {
            let distance = verdict.distance.unwrap();
            assert!((distance / exact - 1.0).abs() < 0.01, "{distance} for {exact}");
            assert_eq!(verdict.broken_by.is_some(), distance <= 0.25 + 1e-6);
        }
        assert!(told.verdict_list[..5].iter().all(|verdict| verdict.distance.is_none()));
        let ignored = run(Distances::Ignored);
        assert_eq!(ignored.attacks[1].attacked, 4, "what is broken stays alone");
        assert_eq!(ignored.attacks[1].distances, None);
        assert!(ignored.worst_case_accuracy.unwrap() <= told.worst_case_accuracy.unwrap() + 0.1);
    }
}
