//! AutoAttack beside the official implementation: robust accuracy after each attack, image by image, at every stored epsilon.
//!
//! `cargo run --release -p adamant --example autoattack -- [JOB]...` with jobs such as `std_eps0p5`, by default all. Reads
//! `fixtures/golden/apgd_reference`, made with the official code, and writes JSON to standard output. `THREADS` and
//! `ADAMANT_ISA` in the environment. Times beside the official code's: `benches/autoattack/turns.py`.

use adamant::attack::{Attack, AttackDefaults, AttackStream, Passes, parse, prediction};
use adamant::image::{Batch, Images, Shape};
use adamant::stream::Stream;
use adamant::threat::{Norm, ThreatModel, distance};
use adamant::victim::{logits_in_tiles, perturb_in_tiles};
use engine::cpu::{CpuEngine, CpuSettings, Isa};
use engine::{Engine, Frozen, Precision};
use network::{Architecture, Domain, InputScaling};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// What the fixture holds of the official runs: attacks of each job, epsilon in 255ths, images, queries of Square.
const JOBS: [(&str, f64, usize, &[&str]); 11] = [
    ("std_eps0p25", 0.25, 200, &["apgd-ce", "apgd-t", "fab-t", "square-1000"]),
    ("std_eps0p5", 0.5, 200, &["apgd-ce", "apgd-t", "fab-t", "square"]),
    ("std_eps1", 1.0, 200, &["apgd-ce", "apgd-t", "fab-t", "square-1000"]),
    ("ce_seed1", 0.5, 200, &["apgd-ce"]),
    ("ce_seed2", 0.5, 200, &["apgd-ce"]),
    ("ce_seed3", 0.5, 200, &["apgd-ce"]),
    ("alone_apgd-ce", 0.5, 50, &["apgd-ce"]),
    ("alone_apgd-dlr", 0.5, 50, &["apgd-dlr"]),
    ("alone_apgd-t", 0.5, 50, &["apgd-t"]),
    ("alone_fab-t", 0.5, 50, &["fab-t"]),
    ("alone_square", 0.5, 50, &["square-1000"]),
];

fn golden(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(file)
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let threads = std::env::var("THREADS").map_or(2, |text| text.parse().expect("a number"));
    let isa = Isa::best().expect("a known instruction set");
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("threads start");

    let mut architecture = Architecture::named("resnet20-cifar").expect("a name");
    architecture.scaling = InputScaling::imagenet();
    let graph = architecture.graph().expect("a graph");
    let weights = golden("cifar_resnet20.safetensors");
    let network = network::import::import_file(graph, &weights).expect("weights that fit").0;
    let engine = CpuEngine::new(CpuSettings { threads, isa }).expect("threads start");
    let frozen = engine.freeze(&network, Domain::CLEAN, Precision::F32).expect("it folds");

    let bytes = std::fs::read(golden("apgd_reference.safetensors")).expect("the fixture");
    let stored = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let all = images(&stored);
    let about = |jobs: Vec<Value>| {
        json!({
            "command": format!("autoattack {}", wanted.join(" ")),
            "machine": machine(),
            "instructions": isa.to_string(),
            "threads": threads,
            "jobs": jobs,
        })
    };
    let print = |result: Value| {
        println!("{}", serde_json::to_string_pretty(&result).expect("plain data"));
    };
    let jobs = JOBS.iter().filter(|job| wanted.is_empty() || wanted.iter().any(|w| w == job.0));
    let results: Vec<Value> = jobs.map(|&job| run(&frozen, &all, &stored, job)).collect();
    print(about(results));
}

fn rounded(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

fn images(stored: &SafeTensors<'_>) -> Batch {
    let bytes = |name: &str| stored.tensor(name).expect(name).data().to_vec();
    let integers = |name: &str| -> Vec<u32> {
        let bytes = bytes(name);
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let pixels = bytes("images_u8").iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let images = Images { count: 200, shape: Shape::new(3, 32, 32), pixels };
    let indices = integers("image_index").into_iter().map(u64::from).collect();
    Batch { images, labels: integers("labels"), indices }
}

/// One job: each attack on the survivors of the last, its flags beside the official ones.
fn run(
    frozen: &impl Frozen,
    all: &Batch,
    stored: &SafeTensors<'_>,
    (job, epsilon, count, names): (&str, f64, usize, &[&str]),
) -> Value {
    let epsilon = format!("{epsilon}/255").parse().expect("a length");
    let threat = ThreatModel::new(Norm::Linf, epsilon).expect("a threat");
    let seed = job.strip_prefix("ce_seed").map_or(0, |seed| seed.parse().expect("a number"));
    let stream = AttackStream { stream: Stream::new(seed), time: 0, rank: 0, first_restart: 0 };
    let batch = all.select(&(0..count).collect::<Vec<_>>());
    let mut standing: Vec<usize> = (0..count).collect();
    let mut attacks = Vec::new();
    for name in names {
        let attack = parse(name, &AttackDefaults::new(threat.clone())).expect(name);
        let clock = Instant::now();
        let (left, passes) =
            survivors(frozen, attack.as_ref(), &batch, &standing, &stream, &threat);
        let seconds = clock.elapsed().as_secs_f64();
        let attacked = standing.len();
        standing = left;
        let official_name = name.trim_end_matches("-1000");
        let flags = stored.tensor(&format!("{job}/robust_after_{official_name}")).expect("flags");
        let official = |image: usize| flags.data()[image] == 1;
        let differing: Vec<usize> =
            (0..count).filter(|&image| official(image) != standing.contains(&image)).collect();
        attacks.push(json!({
            "name": name,
            "attacked": attacked,
            "robust": standing.len(),
            "official_robust": (0..count).filter(|&image| official(image)).count(),
            "images_that_differ": differing,
            "forward_passes": passes.forward,
            "backward_passes": passes.backward,
            "seconds": rounded(seconds),
        }));
        eprintln!("{job}: {}", attacks.last().expect("just pushed"));
    }
    json!({
        "job": job,
        "epsilon": threat.epsilon().written(),
        "images": count,
        "seed": seed,
        "attacks": attacks,
    })
}

/// Who of `standing` is still right, judged by a fresh forward, and the passes the attack made.
fn survivors(
    frozen: &impl Frozen,
    attack: &dyn Attack,
    batch: &Batch,
    standing: &[usize],
    stream: &AttackStream,
    threat: &ThreatModel,
) -> (Vec<usize>, Passes) {
    let some = batch.select(standing);
    let (found, passes) = perturb_in_tiles(frozen, attack, &some, stream).expect("an attack");
    let logits = logits_in_tiles(frozen, &found.images).expect("logits");
    let mut left = Vec::new();
    for (row, &position) in standing.iter().enumerate() {
        let moved = distance(threat.norm(), found.images.one(row), some.images.one(row));
        assert!(moved <= threat.epsilon().exact() + 1e-6, "image {position} is {moved} away");
        if prediction(logits.row(row)) == some.labels[row] {
            left.push(position);
        }
    }
    (left, passes)
}

fn machine() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_owned()
}
