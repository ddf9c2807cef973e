//! One tile as `mandelbrot` writes it: the magic `WEIRTILE`, six little-endian numbers of 32 bits (x, y,
//! width and height of the tile, then width and height of the whole picture), and the pixels, row by
//! row, as bytes of red, green and blue.

/// Most pixels of a picture: at three bytes each, 768 MiB of the 4 GiB that a guest can address.
const MAX_PICTURE_PIXELS: u64 = 1 << 28;

/// A part of a picture, not empty and inside it. All sizes are in pixels.
pub(crate) struct Tile {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) picture_width: u32,
    pub(crate) picture_height: u32,
    /// Exactly `width * height` pixels of three bytes.
    pub(crate) pixels: Vec<u8>,
}

impl Tile {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Some(numbers) = bytes.strip_prefix(b"WEIRTILE") else {
            return Err("not a tile".into());
        };
        let Some((numbers, pixels)) = numbers.split_first_chunk::<24>() else {
            return Err(format!("ends within its header, after {} bytes", bytes.len()));
        };
        let (numbers, _) = numbers.as_chunks::<4>();
        let number = |place: usize| u32::from_le_bytes(numbers[place]);
        Self {
            x: number(0),
            y: number(1),
            width: number(2),
            height: number(3),
            picture_width: number(4),
            picture_height: number(5),
            pixels: pixels.to_vec(),
        }
        .check()
    }

    fn check(self) -> Result<Self, String> {
        let inside = |start: u32, length: u32, whole: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= whole)
        };
        let Self { x, y, width, height, picture_width, picture_height, .. } = self;
        if u64::from(picture_width) * u64::from(picture_height) > MAX_PICTURE_PIXELS {
            return Err(format!(
                "a picture of {picture_width} x {picture_height} pixels is too large"
            ));
        }
        if !inside(x, width, picture_width) || !inside(y, height, picture_height) {
            return Err(format!(
                "{width} x {height} pixels at ({x}, {y}) are not inside a picture of \
                 {picture_width} x {picture_height}"
            ));
        }
        // Cannot overflow: a tile inside the picture has no more pixels than are allowed to that.
        let expected = u64::from(width) * u64::from(height) * 3;
        if self.pixels.len() as u64 != expected {
            return Err(format!("has {} bytes of pixels instead of {expected}", self.pixels.len()));
        }
        Ok(self)
    }
}
