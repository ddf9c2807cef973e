//! Draws one tile of a picture of the Mandelbrot set and writes it to `/out/tile.rgb`. The map stage
//! of the demo: WEIR_TASK_INDEX and WEIR_TASK_COUNT choose the tile of a square grid, row by row, and
//! the whole picture is one tile when they are unset. What a point looks like is in `fractal.rs`; the
//! tiles become a picture in `png-stitch`.

mod fractal;

use std::env;
use std::fs;
use std::process::ExitCode;

use crate::fractal::Palette;

/// Points computed for one pixel, along each axis, and averaged: smooth edges at four times the work.
const SAMPLES: u32 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("mandelbrot: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let view = View::parse(env::args().skip(1))?;
    let tile = Tile::of_task(
        &view,
        task_number("WEIR_TASK_INDEX", 0)?,
        task_number("WEIR_TASK_COUNT", 1)?,
    )?;
    let mut file = header(&view, &tile);
    draw(&view, &tile, &mut file);
    fs::write("/out/tile.rgb", file).map_err(|error| format!("cannot write /out/tile.rgb: {error}"))
}

/// The part of the complex plane that is drawn, and how finely.
struct View {
    /// Size of the whole picture in pixels, 1 to 65536 each.
    width: u32,
    height: u32,
    center_x: f64,
    center_y: f64,
    /// What the picture's width covers of the plane. Pixels are square, so the height follows.
    span: f64,
    /// Steps after which a point counts as inside the set.
    iterations: u32,
}

impl Default for View {
    /// The tail of a seahorse, from the valley between the set's heart and its head.
    fn default() -> Self {
        Self {
            width: 1536,
            height: 1536,
            center_x: -0.743_380,
            center_y: 0.131_390,
            span: 0.0021,
            iterations: 1000,
        }
    }
}

impl View {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut view = Self::default();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--width" => view.width = parse(&name, &value)?,
                "--height" => view.height = parse(&name, &value)?,
                "--center-x" => view.center_x = parse(&name, &value)?,
                "--center-y" => view.center_y = parse(&name, &value)?,
                "--span" => view.span = parse(&name, &value)?,
                "--iterations" => view.iterations = parse(&name, &value)?,
                _ => {
                    return Err(format!(
                        "no such option: {name}\n\
                         usage: mandelbrot [--width W] [--height H] [--center-x X] [--center-y Y] \
                         [--span S] [--iterations I]"
                    ));
                }
            }
        }
        view.check()
    }

    fn check(self) -> Result<Self, String> {
        let sizes = 1..=65536;
        if !sizes.contains(&self.width) || !sizes.contains(&self.height) {
            return Err(format!(
                "a picture of {} x {} pixels: 1 to 65536 will do",
                self.width, self.height
            ));
        }
        if !self.span.is_finite() || self.span <= 0.0 {
            return Err(format!("a span of {}: it has to be above 0", self.span));
        }
        Ok(self)
    }

    /// The point of the plane at a place in the picture, which is measured in samples.
    fn point(&self, x: u32, y: u32) -> (f64, f64) {
        let sample = self.span / f64::from(self.width * SAMPLES);
        let right = f64::from(x) + 0.5 - f64::from(self.width * SAMPLES) / 2.0;
        let down = f64::from(y) + 0.5 - f64::from(self.height * SAMPLES) / 2.0;
        (self.center_x + right * sample, self.center_y - down * sample)
    }
}

fn parse<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} is not a number that fits: {value}"))
}

fn task_number(name: &str, default: u32) -> Result<u32, String> {
    match env::var(name) {
        Err(env::VarError::NotPresent) => Ok(default),
        Err(error) => Err(format!("{name}: {error}")),
        Ok(value) => parse(name, &value),
    }
}

/// One task's part of the picture, in pixels.
struct Tile {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

impl Tile {
    /// Cell `index` of a grid of `count`. The borders are rounded, each for both its neighbours alike,
    /// so the tiles fit together whether or not the grid divides the picture.
    fn of_task(view: &View, index: u32, count: u32) -> Result<Self, String> {
        let side = count.isqrt();
        if side * side != count || count == 0 {
            return Err(format!(
                "WEIR_TASK_COUNT is {count}: tiles make a square grid, so 1, 4, 9, 16 and so on"
            ));
        }
        if index >= count {
            return Err(format!("WEIR_TASK_INDEX is {index}, but there are only {count} tasks"));
        }
        if side > view.width.min(view.height) {
            return Err(format!(
                "{count} tiles of {} x {} pixels: some would be empty",
                view.width, view.height
            ));
        }
        // Products stay below 2^32: sizes are at most 2^16, and `side` is below 2^16.
        let (column, row) = (index % side, index / side);
        let (x, y) = (column * view.width / side, row * view.height / side);
        let (right, bottom) = ((column + 1) * view.width / side, (row + 1) * view.height / side);
        Ok(Self { x, y, width: right - x, height: bottom - y })
    }
}

/// What precedes the pixels: the magic, then six numbers of 32 bits, little-endian.
fn header(view: &View, tile: &Tile) -> Vec<u8> {
    let mut header = b"WEIRTILE".to_vec();
    for number in [tile.x, tile.y, tile.width, tile.height, view.width, view.height] {
        header.extend(number.to_le_bytes());
    }
    header
}

/// Appends the tile's pixels to `file`, row by row, as red, green and blue.
fn draw(view: &View, tile: &Tile, file: &mut Vec<u8>) {
    let palette = Palette::new();
    for y in tile.y..tile.y + tile.height {
        for x in tile.x..tile.x + tile.width {
            file.extend(pixel(view, &palette, x, y));
        }
    }
}

fn pixel(view: &View, palette: &Palette, x: u32, y: u32) -> [u8; 3] {
    let mut sum = [0.0; 3];
    for sample in 0..SAMPLES * SAMPLES {
        let point = view.point(x * SAMPLES + sample % SAMPLES, y * SAMPLES + sample / SAMPLES);
        let light = fractal::light(point, view.iterations, palette);
        for (sum, light) in sum.iter_mut().zip(light) {
            *sum += light;
        }
    }
    sum.map(|sum| fractal::brightness(sum / f64::from(SAMPLES * SAMPLES)))
}
