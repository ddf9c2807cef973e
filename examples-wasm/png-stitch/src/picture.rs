//! The whole picture: tiles laid side by side, each pixel in exactly one of them.

use std::collections::BTreeMap;

use crate::tile::Tile;

/// Bytes of a pixel: red, green and blue.
const PIXEL: usize = 3;

pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Row by row, three bytes for each pixel.
    pub(crate) pixels: Vec<u8>,
    /// Whether a tile has given each pixel.
    covered: Vec<bool>,
}

impl Picture {
    /// # Errors
    ///
    /// If there is no tile, two are of pictures of different size, two overlap, or one is missing.
    pub(crate) fn stitch(tiles: &BTreeMap<u32, Tile>) -> Result<Self, String> {
        let Some((first, tile)) = tiles.first_key_value() else {
            return Err("there are no tiles".into());
        };
        let mut picture = Self::blank(tile.picture_width, tile.picture_height);
        for (index, tile) in tiles {
            if (tile.picture_width, tile.picture_height) != (picture.width, picture.height) {
                return Err(format!("tiles {first} and {index} are of pictures of different size"));
            }
            picture.lay(tile).map_err(|problem| format!("tile {index} {problem}"))?;
        }
        if let Some(hole) = picture.covered.iter().position(|covered| !covered) {
            let missing = first_missing(tiles);
            return Err(format!(
                "tile {missing} is missing: nothing covers {}",
                picture.position(hole)
            ));
        }
        Ok(picture)
    }

    fn blank(width: u32, height: u32) -> Self {
        let pixels = width as usize * height as usize;
        Self { width, height, pixels: vec![0; pixels * PIXEL], covered: vec![false; pixels] }
    }

    fn lay(&mut self, tile: &Tile) -> Result<(), String> {
        for (row, line) in tile.pixels.chunks_exact(tile.width as usize * PIXEL).enumerate() {
            let start = (tile.y as usize + row) * self.width as usize + tile.x as usize;
            let covered = &mut self.covered[start..][..tile.width as usize];
            if let Some(column) = covered.iter().position(|covered| *covered) {
                return Err(format!("overlaps another at {}", self.position(start + column)));
            }
            covered.fill(true);
            self.pixels[start * PIXEL..][..line.len()].copy_from_slice(line);
        }
        Ok(())
    }

    /// For messages: a pixel's column and row.
    fn position(&self, pixel: usize) -> String {
        format!("({}, {})", pixel % self.width as usize, pixel / self.width as usize)
    }
}

/// The lowest index that no tile has.
fn first_missing(tiles: &BTreeMap<u32, Tile>) -> u32 {
    (0..).find(|index| !tiles.contains_key(index)).expect("there are fewer tiles than numbers")
}
