//! Examples, as an app hands them over.

/// What a model reads.
#[derive(Clone, PartialEq)]
pub enum Input {
    /// A line of text, such as a bank statement's.
    Text(String),
    /// Numbers, as many as the model's inputs; images row by row, channel after channel.
    Dense(Vec<f32>),
}

/// One labeled example.
#[derive(Clone, PartialEq)]
pub struct Example {
    /// What the model reads.
    pub input: Input,
    /// Index into the model's labels.
    pub label: u32,
}

/// Examples are personal data: neither is printed.
impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::Dense(values) => write!(f, "Dense([..; {}])", values.len()),
        }
    }
}

impl std::fmt::Debug for Example {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Example").finish_non_exhaustive()
    }
}

/// The local examples of one task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// In any order; training shuffles.
    pub examples: Vec<Example>,
}

impl Dataset {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there is nothing to train on.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Adds a labeled text.
    pub fn push_text(&mut self, text: impl Into<String>, label: u32) {
        self.examples.push(Example { input: Input::Text(text.into()), label });
    }

    /// Adds labeled numbers.
    pub fn push_dense(&mut self, values: Vec<f32>, label: u32) {
        self.examples.push(Example { input: Input::Dense(values), label });
    }
}

impl FromIterator<Example> for Dataset {
    fn from_iter<I: IntoIterator<Item = Example>>(examples: I) -> Self {
        Self { examples: examples.into_iter().collect() }
    }
}
