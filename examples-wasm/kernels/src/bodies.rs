//! Bodies that attract each other: floating point with square roots and divisions in the inner loop.

/// How many.
const COUNT: usize = 5;

/// Where they are, how they move, and what they weigh.
pub(crate) struct Bodies {
    place: [[f64; 3]; COUNT],
    speed: [[f64; 3]; COUNT],
    mass: [f64; COUNT],
}

impl Bodies {
    /// A heavy one, and lighter ones on circles around it.
    pub(crate) fn new() -> Bodies {
        let mut bodies =
            Bodies { place: [[0.0; 3]; COUNT], speed: [[0.0; 3]; COUNT], mass: [0.001; COUNT] };
        bodies.mass[0] = 40.0;
        for body in 1..COUNT {
            let radius = body as f64 * 5.0;
            bodies.place[body] = [radius, 0.0, radius * 0.01];
            bodies.speed[body] = [0.0, (bodies.mass[0] / radius).sqrt(), 0.0];
        }
        bodies
    }

    /// Moves them on by so much time.
    pub(crate) fn step(&mut self, time: f64) {
        for a in 0..COUNT {
            for b in a + 1..COUNT {
                let way = self.way(a, b);
                let square = way.iter().map(|part| part * part).sum::<f64>();
                let pull = time / (square * square.sqrt());
                for axis in 0..3 {
                    self.speed[a][axis] -= way[axis] * self.mass[b] * pull;
                    self.speed[b][axis] += way[axis] * self.mass[a] * pull;
                }
            }
        }
        for (place, speed) in self.place.iter_mut().zip(&self.speed) {
            for axis in 0..3 {
                place[axis] += time * speed[axis];
            }
        }
    }

    /// Of all of them together; it hardly changes.
    pub(crate) fn energy(&self) -> f64 {
        let mut energy = 0.0;
        for a in 0..COUNT {
            let square = self.speed[a].iter().map(|part| part * part).sum::<f64>();
            energy += 0.5 * self.mass[a] * square;
            for b in a + 1..COUNT {
                let distance = self.way(a, b).iter().map(|part| part * part).sum::<f64>().sqrt();
                energy -= self.mass[a] * self.mass[b] / distance;
            }
        }
        energy
    }

    fn way(&self, a: usize, b: usize) -> [f64; 3] {
        std::array::from_fn(|axis| self.place[a][axis] - self.place[b][axis])
    }
}
