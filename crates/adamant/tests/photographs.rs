//! Photographs of any size from class folders: framed, drawn from, skipped where broken, and trained on by the recipes.

use adamant::data::{
    Augment, Colour, Dataset, Flip, Framing, LastBatch, Loader, LoaderSettings, OnCorrupt, Order,
    Part, Position, PrefetchSettings, RandomCrop, folder,
};
use adamant::train::builtin;
use adamant::train::fit::{Event, Setting, fit};
use adamant::train::plan::Plan;
use adamant::train::record::Machine;
use adamant::train::run::{Identity, Run};
use collective::Solo;
use engine::Precision;
use engine::cpu::{CpuEngine, CpuSettings, Isa};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Every kind of picture, 37 x 29 but for the PNG files of two pixels; `broken` adds a JPEG that ends early.
fn photographs(root: &Path, copies: usize, is_broken: bool) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/pictures");
    for (class, names) in [
        ("fish", ["colour420.jpg", "cmyk.jpg", "transparent.png"]),
        ("fowl", ["grey.jpg", "progressive.jpg", "sixteen-bit.png"]),
    ] {
        for part in ["train", "val"] {
            let folder = root.join(part).join(class);
            fs::create_dir_all(&folder).unwrap();
            for (copy, name) in (0..copies).flat_map(|copy| names.map(|name| (copy, name))) {
                fs::copy(fixtures.join(name), folder.join(format!("{copy}-{name}"))).unwrap();
            }
        }
    }
    if is_broken {
        let whole = fs::read(fixtures.join("colour420.jpg")).unwrap();
        fs::write(root.join("train/fowl/0-broken.JPEG"), &whole[..whole.len() / 2]).unwrap();
    }
}

fn dataset(root: &Path) -> Arc<Dataset> {
    Arc::new(folder::load(root, "photographs", Part::Train, Framing::usual(16)).unwrap())
}

fn settings(on_corrupt: OnCorrupt, workers: usize) -> LoaderSettings {
    let colour = Colour { brightness: 0.4, contrast: 0.4, saturation: 0.4, lighting: 0.1 };
    LoaderSettings {
        batch_size: 4,
        seed: 3,
        order: Order::Shuffled,
        last: LastBatch::Keep,
        augment: Augment {
            crop: Some(RandomCrop::default()),
            pad: 0,
            flip: Flip::Horizontal,
            colour,
        },
        on_corrupt,
        prefetch: PrefetchSettings { workers, bytes: 1 << 20 },
    }
}

#[test]
fn g31_photographs_look_the_same_whatever_the_threads_and_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    photographs(folder.path(), 2, false);
    let loader =
        |workers| Loader::new(dataset(folder.path()), settings(OnCorrupt::Fail, workers)).unwrap();
    let one: Vec<_> = loader(1).prefetch(Position { epoch: 0, step: 0 }, 2).collect();
    let three: Vec<_> = loader(3).prefetch(Position { epoch: 0, step: 2 }, 2).collect();
    let unwrapped = |items: Vec<Result<_, _>>| -> Vec<adamant::data::Prefetched> {
        items.into_iter().map(|item| item.unwrap()).collect()
    };
    let (one, three) = (unwrapped(one), unwrapped(three));
    assert_eq!((one.len(), three.len()), (6, 4));
    assert_eq!(one[2..], three);
    let pixels = || one.iter().flat_map(|item| &item.batch.images.pixels);
    assert!(pixels().all(|pixel| (0.0..=1.0).contains(pixel)));
    // Two epochs draw different boxes and colours.
    let (first, second) = (&one[0].batch.indices, one[3..].iter());
    let later =
        second.flat_map(|item| item.batch.indices.iter().enumerate().map(move |at| (item, at)));
    let again = later.into_iter().find(|(_, (_, index))| **index == first[0]).unwrap();
    assert_ne!(one[0].batch.images.one(0), again.0.batch.images.one(again.1.0));
}

#[test]
fn a_broken_photograph_is_fatal_or_named_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    photographs(folder.path(), 1, true);
    let set = dataset(folder.path());
    let images = set.len();
    assert_eq!(images, 7);
    let fatal = Loader::new(Arc::clone(&set), settings(OnCorrupt::Fail, 2)).unwrap();
    let failed = fatal.prefetch(Position { epoch: 0, step: 0 }, 1).find_map(Result::err).unwrap();
    assert!(failed.to_string().contains("0-broken.JPEG: broken JPEG"), "{failed}");
    let skipping = Loader::new(set, settings(OnCorrupt::Skip, 2)).unwrap();
    let items = skipping.prefetch(Position { epoch: 0, step: 0 }, 3);
    let (mut seen, mut named) = (Vec::new(), Vec::new());
    for item in items {
        let item = item.unwrap();
        assert_eq!(item.batch.labels.len(), item.batch.images.count);
        seen.extend(item.batch.indices);
        named.extend(item.skipped);
    }
    // Three epochs: each whole image three times, the broken one named three times.
    seen.sort_unstable();
    let broken = named[0].index;
    let whole = (0..images as u64).filter(|&index| index != broken).flat_map(|index| [index; 3]);
    assert_eq!(seen, whole.collect::<Vec<_>>());
    assert_eq!(named.len(), 3);
    assert!(named.iter().all(|skipped| skipped.reason.contains("0-broken.JPEG")), "{named:?}");
}

/// The paper's recipe and the ImageNet recipe, with small networks and few steps; nothing else about the data is changed.
#[test]
fn the_recipes_for_photographs_train_on_a_folder_of_them() {
    for (name, on_corrupt) in [("paper_r152", "skip"), ("imagenet_mixture", "skip")] {
        let folder = tempfile::tempdir().unwrap();
        photographs(&folder.path().join("data"), 4, true);
        let source = format!("data.source=folder:{}", folder.path().join("data").display());
        let on_corrupt = format!("data.on_corrupt={on_corrupt}");
        let sets = [
            &source,
            &on_corrupt,
            "data.validation=4",
            "data.size=32",
            "data.resize=36",
            "network.architecture=resnet8-cifar",
            "network.width=4",
            "attack.steps=1",
            "training.epochs=2",
            "training.batch_size=7",
            "training.freeze_statistics_from_epoch=1",
            "training.precision=f32",
            "schedule.warmup_epochs=0",
            "optimizer.learning_rate=0.01",
            "evaluation.select_by=clean",
        ]
        .map(str::to_owned);
        let recipe = builtin::recipe(name, &sets).unwrap();
        let plan = Plan::new(&recipe).unwrap();
        let dataset = Arc::new(plan.load(Part::Train, &search()).unwrap());
        assert_eq!((dataset.len(), dataset.shape().width), (25, 32));
        let isa = Isa::best().unwrap();
        let engine = CpuEngine::new(CpuSettings { threads: 2, isa }).unwrap();
        let engine = engine.training_in(plan.precision.resolve(Precision::F32));
        let run_folder = folder.path().join("run");
        let mut run = Run::create(&run_folder, &recipe, identity()).unwrap();
        let (never, mut steps, mut unreadable) = (AtomicBool::new(false), 0, Vec::new());
        let setting = Setting {
            engine: &engine,
            collective: &Solo,
            plan: &plan,
            dataset,
            interrupt: &never,
            checkpoint_now: &never,
        };
        let mut watcher = |event: Event<'_>| match event {
            Event::Step(metrics) => {
                assert!(metrics.loss.is_finite() && metrics.wait >= 0.0);
                steps += 1;
            }
            Event::Missing { metrics } => {
                unreadable.extend(metrics.missing.iter().map(|missing| missing.reason.clone()));
            }
            _ => {}
        };
        engine.pool().install(|| fit(&setting, &mut run, &mut watcher)).unwrap();
        assert_eq!(steps, 6, "{name}");
        // The broken picture is among the 21 that are learned from; each epoch goes without it, and says so.
        assert_eq!(unreadable.len(), 2, "{unreadable:?}");
        let metrics = fs::read_to_string(run_folder.join("metrics.jsonl")).unwrap();
        let lines = metrics.lines().filter(|line| line.contains("\"missing\""));
        assert_eq!(lines.filter(|line| line.contains("0-broken.JPEG")).count(), 2);
    }
}

fn search() -> adamant::data::SearchPath {
    adamant::data::SearchPath { folders: Vec::new() }
}

fn identity() -> Identity {
    let any = || "any".to_owned();
    Identity {
        recipe: any(),
        version: any(),
        revision: any(),
        dirty: false,
        machine: Machine {
            system: any(),
            architecture: any(),
            processor: any(),
            kernel: any(),
            threads: 2,
        },
        world_size: 1,
    }
}
