//! What a point of the plane looks like: how it escapes from the set, the colour of its height and the
//! shade of its slope. Pure arithmetic, the same to the last bit on every machine.

/// Square of the distance from which a point has escaped. Two would do to know that it does; so far
/// out, the steps blend into a smooth height.
const ESCAPED: f64 = 10_000.0;

/// Turns of the palette for each time the height grows by the factor e. Heights double towards the
/// set, and taking the logarithm gives the far and the near the same share of colours.
const TURNS: f64 = 0.55;

/// Where on the palette height 1 lies, in turns.
const FIRST_TURN: f64 = 0.0;

/// How much of the light falls from the upper right, from 0 (flat) to 1.
const SLANT: f64 = 0.6;

/// How high the light stands over the picture; lower is harsher.
const ELEVATION: f64 = 1.5;

/// The light that a point sends, as linear red, green and blue from 0 to 1. The set itself is black.
pub(crate) fn light(point: (f64, f64), iterations: u32, palette: &Palette) -> [f64; 3] {
    match escape(point, iterations) {
        Some(escape) => {
            let slope = 1.0 - SLANT + SLANT * escape.facing;
            palette.at(TURNS * escape.height.ln() + FIRST_TURN).map(|light| light * slope)
        }
        None => [0.0; 3],
    }
}

/// The byte that makes a screen send `light`.
pub(crate) fn brightness(light: f64) -> u8 {
    (light.sqrt() * 255.0).round() as u8
}

/// How a point left the set's neighbourhood.
struct Escape {
    /// Steps it took, with a fraction that makes neighbours differ smoothly; at least 1.
    height: f64,
    /// How far the surface of heights faces the light here, from 0 (away) to 1.
    facing: f64,
}

/// Follows z -> z² + c from 0. Its derivative by c is followed along, because z / z' points up the
/// slope of the heights. `None` if the point is still near after all `iterations`.
fn escape((c_re, c_im): (f64, f64), iterations: u32) -> Option<Escape> {
    let (mut z_re, mut z_im) = (0.0, 0.0);
    let (mut slope_re, mut slope_im) = (0.0, 0.0);
    for step in 1..=iterations {
        (slope_re, slope_im) = (
            2.0 * (z_re * slope_re - z_im * slope_im) + 1.0,
            2.0 * (z_re * slope_im + z_im * slope_re),
        );
        (z_re, z_im) = (z_re * z_re - z_im * z_im + c_re, 2.0 * z_re * z_im + c_im);
        let distance = z_re * z_re + z_im * z_im;
        if distance > ESCAPED {
            let height = f64::from(step) + 1.0 - (distance.ln() / ESCAPED.ln()).log2();
            let (up_re, up_im) =
                (z_re * slope_re + z_im * slope_im, z_im * slope_re - z_re * slope_im);
            return Some(Escape { height: height.max(1.0), facing: facing(up_re, up_im) });
        }
    }
    None
}

/// `max` also turns the NaN of a slope beyond all numbers into the dark.
fn facing(up_re: f64, up_im: f64) -> f64 {
    let length = (up_re * up_re + up_im * up_im).sqrt();
    let upper_right = (up_re + up_im) / (length * std::f64::consts::SQRT_2);
    ((upper_right + ELEVATION) / (1.0 + ELEVATION)).max(0.0)
}

/// A ring of colours.
pub(crate) struct Palette {
    /// Where each colour lies on the ring, in turns, ascending from 0; then its red, green and blue,
    /// as a screen's brightness from 0 to 1. The last is the first again, at 1.
    colors: [(f64, [f64; 3]); 7],
}

impl Palette {
    pub(crate) fn new() -> Self {
        let night = [8, 6, 30];
        let colors = [
            (0.00, night),
            (0.20, [38, 34, 110]),   // indigo
            (0.38, [20, 130, 170]),  // sea
            (0.52, [245, 240, 215]), // cream
            (0.66, [250, 165, 60]),  // amber
            (0.82, [150, 30, 60]),   // wine
            (1.00, night),
        ];
        Self {
            colors: colors
                .map(|(turn, color)| (turn, color.map(|byte: u8| f64::from(byte) / 255.0))),
        }
    }

    /// The light at a place on the ring, in turns of any number. Brightness is blended and then squared
    /// to light, which is near enough to what a screen does and costs nothing.
    fn at(&self, turns: f64) -> [f64; 3] {
        let turn = turns.rem_euclid(1.0);
        let after = self
            .colors
            .iter()
            .position(|(start, _)| *start > turn)
            .unwrap_or(self.colors.len() - 1);
        let ((start, from), (end, to)) = (self.colors[after - 1], self.colors[after]);
        let part = (turn - start) / (end - start);
        let eased = part * part * (3.0 - 2.0 * part);
        std::array::from_fn(|channel| {
            let brightness = from[channel] + (to[channel] - from[channel]) * eased;
            brightness * brightness
        })
    }
}
