//! One picture as the loader makes it, as raw planes on standard output, for `benches/loader/parity.py`.
//!
//! `cargo run --release -p adamant --example picture_parity -- FILE decode|centre-bilinear|centre-bicubic|random-resized
//! LEFT TOP WIDTH HEIGHT`

use std::env;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use adamant::data::picture::{self, Colours, Picture};
use adamant::data::{Dataset, Files, Filter, Framing, Part, Region};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, what, box_of @ ..] = &arguments[..] else {
        return Err("a file and what becomes of it".into());
    };
    let path = Path::new(file);
    let planes = match what.as_str() {
        "decode" => {
            let mut picture = Picture::default();
            picture::decode(&std::fs::read(path)?, path, Colours::Rgb, &mut picture)?;
            let mut planes = vec![0; picture.shape().len()];
            picture.planes(&mut planes);
            planes
        }
        _ => {
            let mut files = Files::default();
            files.add_folder(path.parent().ok_or("a file in a folder")?.to_owned());
            files.add(path.file_name().and_then(|name| name.to_str()).ok_or("a name in UTF-8")?);
            let filter = if what == "centre-bicubic" { Filter::Bicubic } else { Filter::Bilinear };
            let framing = Framing::CentreCrop { resize: 256, crop: 224, filter };
            let names = vec!["one".to_owned()];
            let set =
                Dataset::of_pictures("one", Part::Whole, names, vec![0], Arc::new(files), framing)?;
            let mut planes = vec![0; set.shape().len()];
            if what == "random-resized" {
                let number =
                    |at: usize| box_of.get(at).ok_or("a box")?.parse().map_err(|_| "a number");
                let (left, top, width, height) = (number(0)?, number(1)?, number(2)?, number(3)?);
                set.read_box(0, Region { left, top, width, height }, filter, &mut planes)?;
            } else {
                set.read(0, &mut planes)?;
            }
            planes
        }
    };
    std::io::stdout().write_all(&planes)?;
    Ok(())
}
