//! Puts the tiles of `mandelbrot` together: reads `/in/tiles/INDEX/tile.rgb`, checks that they cover the
//! picture exactly, and writes `/out/mandelbrot.png`. The last stage of the demo, and the test that a
//! task can read what every task of another stage wrote. The file format is in `tile.rs`, the
//! covering in `picture.rs`.

mod picture;
mod tile;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;

use crate::picture::Picture;
use crate::tile::Tile;

const TILES: &str = "/in/tiles";
const PICTURE: &str = "/out/mandelbrot.png";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("png-stitch: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let tiles = read_tiles()?;
    let picture = Picture::stitch(&tiles)?;
    write(&picture).map_err(|error| format!("cannot write {PICTURE}: {error}"))?;
    println!("{} tiles make {PICTURE}, {} x {} pixels", tiles.len(), picture.width, picture.height);
    Ok(())
}

/// Every tile, by the index of the task that drew it, which is the name of its directory.
fn read_tiles() -> Result<BTreeMap<u32, Tile>, String> {
    let cannot_list = |error| format!("cannot list {TILES}: {error}");
    let mut tiles = BTreeMap::new();
    for entry in fs::read_dir(TILES).map_err(cannot_list)? {
        let directory = entry.map_err(cannot_list)?.path();
        let name = directory.file_name().and_then(|name| name.to_str());
        let Some(index) = name.and_then(|name| name.parse().ok()) else {
            return Err(format!("{}: the name is not the index of a task", directory.display()));
        };
        let tile = read_tile(&directory.join("tile.rgb"))?;
        if tiles.insert(index, tile).is_some() {
            return Err(format!(
                "{}: there is another directory for tile {index}",
                directory.display()
            ));
        }
    }
    Ok(tiles)
}

fn read_tile(path: &Path) -> Result<Tile, String> {
    let bytes =
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Tile::parse(&bytes).map_err(|problem| format!("{}: {problem}", path.display()))
}

fn write(picture: &Picture) -> Result<(), png::EncodingError> {
    let mut encoder =
        png::Encoder::new(BufWriter::new(File::create(PICTURE)?), picture.width, picture.height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&picture.pixels)?;
    writer.finish()
}
