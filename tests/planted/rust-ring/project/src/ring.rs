//! The last samples of a sensor.

/// At most `capacity` samples; a new one takes the place of the oldest.
#[derive(Debug)]
pub struct Ring {
    samples: Vec<f64>,
    capacity: usize,
    next: usize,
}

impl Ring {
    /// An empty ring; `capacity` is at least 1.
    pub fn new(capacity: usize) -> Self {
        Ring { samples: Vec::with_capacity(capacity), capacity: capacity.max(1), next: 0 }
    }

    /// Keeps a sample.
    pub fn push(&mut self, sample: f64) {
        if self.samples.len() < self.capacity {
            self.samples.push(sample);
        } else {
            self.samples[self.next] = sample;
        }
        self.next = (self.next + 1) % self.capacity;
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Ring;

    #[test]
    fn never_more_than_its_capacity() {
        let mut ring = Ring::new(2);
        assert!(ring.is_empty());
        for sample in [1.0, 2.0, 3.0] {
            ring.push(sample);
        }
        assert_eq!(ring.len(), 2);
    }
}
