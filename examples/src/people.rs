//! People whose spending differs: each lives somewhere, has habits, and sees the merchants that fit both. What they buy
//! is a device's local data, and very unlike its neighbour's.

use scale_client_core::train::Dataset;

use crate::merchants::{CATEGORIES, Merchant};
use crate::random::Random;
use crate::statements;

/// How different people are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Habits {
    /// Parameter of the Dirichlet distribution over categories: 0.1 is one-sided, 10 nearly even.
    pub alpha: f64,
    /// Purchases at one merchant: at least 1, this on average.
    pub visits: f64,
    /// Most merchants that one person knows, when merchants are plenty.
    pub most_merchants: usize,
}

impl Default for Habits {
    fn default() -> Self {
        Self { alpha: 0.5, visits: 3.0, most_merchants: 450 }
    }
}

/// One person with a device.
#[derive(Clone, Debug)]
pub struct Person {
    /// ISO code of the country in which the person lives.
    pub home: String,
    /// Share of each category, in the order of [`CATEGORIES`].
    pub tastes: Vec<f64>,
    /// Merchants that the person buys from, as indices into the list that was given.
    pub merchants: Vec<usize>,
    /// One labeled statement line per purchase: the device's local data.
    pub statement: Dataset,
}

/// Makes `count` people over these merchants. Together they see every merchant as long as `most_merchants` allows;
/// what is left of a person's room goes to merchants that others know too.
pub fn people(count: usize, merchants: &[Merchant], habits: Habits, seed: u64) -> Vec<Person> {
    let mut random = Random::new(seed, "people");
    let mut people: Vec<Person> = (0..count).map(|_| Person::new(merchants, habits, &mut random)).collect();
    if people.is_empty() || merchants.is_empty() {
        return people;
    }
    // Nobody fills up to the last place, so that tastes decide until the end.
    let room = (merchants.len() * 5 / 4).div_ceil(count).clamp(60, habits.most_merchants.max(60)).min(merchants.len());
    let mut order: Vec<usize> = (0..merchants.len()).collect();
    random.shuffle(&mut order);
    for index in order {
        if let Some(person) = choose(&people, &merchants[index], room, &mut random) {
            people[person].merchants.push(index);
        }
    }
    for person in &mut people {
        person.meet_more(merchants, room, &mut random);
        person.shop(merchants, habits, &mut random);
    }
    people
}

/// Who buys at a merchant: by taste and room, people of its countries first; somebody travels there otherwise.
fn choose(people: &[Person], merchant: &Merchant, room: usize, random: &mut Random) -> Option<usize> {
    let weight = |person: &Person, at_home: bool| {
        let full = person.merchants.len() as f64 / room as f64;
        if full >= 1.0 || (at_home && !merchant.trades_in(&person.home)) {
            return 0.0;
        }
        (person.tastes[merchant.label as usize] + 1e-4) * (1.0 - full)
    };
    [true, false].into_iter().find_map(|at_home| {
        let weights: Vec<f64> = people.iter().map(|person| weight(person, at_home)).collect();
        (weights.iter().sum::<f64>() > 0.0).then(|| random.weighted(&weights))
    })
}

impl Person {
    /// Lives where merchants trade, more often where many do.
    fn new(merchants: &[Merchant], habits: Habits, random: &mut Random) -> Self {
        let local: Vec<&Merchant> = merchants.iter().filter(|merchant| !merchant.countries.is_empty()).collect();
        let home = match &local[..] {
            [] => "us".to_owned(),
            local => {
                let merchant = random.pick(local);
                random.pick(&merchant.countries).clone()
            }
        };
        let tastes = random.dirichlet(CATEGORIES.len(), habits.alpha);
        Self { home, tastes, merchants: Vec::new(), statement: Dataset::default() }
    }

    /// Fills the remaining room with merchants at home, by taste.
    fn meet_more(&mut self, merchants: &[Merchant], room: usize, random: &mut Random) {
        let mut known = vec![false; merchants.len()];
        self.merchants.iter().for_each(|&index| known[index] = true);
        for _ in 0..room * 20 {
            if self.merchants.len() >= room {
                return;
            }
            let index = random.below(merchants.len());
            let merchant = &merchants[index];
            let taste = self.tastes[merchant.label as usize] * CATEGORIES.len() as f64;
            if !known[index] && merchant.trades_in(&self.home) && random.chance(taste.min(1.0)) {
                known[index] = true;
                self.merchants.push(index);
            }
        }
    }

    /// Buys: a few purchases at most merchants, many at some.
    fn shop(&mut self, merchants: &[Merchant], habits: Habits, random: &mut Random) {
        let again = 1.0 - 1.0 / habits.visits.max(1.0);
        for &index in &self.merchants {
            let Merchant { name, label, .. } = &merchants[index];
            let mut purchases = 0;
            while purchases == 0 || (purchases < 12 && random.chance(again)) {
                self.statement.push_text(statements::line(name, &self.home, random), *label);
                purchases += 1;
            }
        }
        random.shuffle(&mut self.statement.examples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merchants;

    #[test]
    fn thirty_people_cover_the_merchants_and_differ() {
        let merchants = merchants::embedded().expect("the data is in the repository");
        let train = merchants::split(&merchants, 0.15, 1).train;
        let people = people(30, &train, Habits::default(), 1);
        assert_eq!(people.len(), 30);
        let mut seen = vec![false; train.len()];
        for person in &people {
            assert!((150..=450).contains(&person.merchants.len()), "{} merchants", person.merchants.len());
            assert!(person.statement.len() > person.merchants.len() * 2);
            person.merchants.iter().for_each(|&index| seen[index] = true);
        }
        let covered = seen.iter().filter(|seen| **seen).count() as f64 / train.len() as f64;
        assert!(covered > 0.98, "{covered}");

        // Far from the same mixture: the average distance in total variation of two people's categories is large.
        let shares: Vec<Vec<f64>> = people.iter().map(|person| shares(person, &train)).collect();
        let mut sum = 0.0;
        for (index, one) in shares.iter().enumerate().skip(1) {
            sum += one.iter().zip(&shares[index - 1]).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
        }
        assert!(sum / 29.0 > 0.3, "{}", sum / 29.0);
    }

    fn shares(person: &Person, merchants: &[Merchant]) -> Vec<f64> {
        let mut out = vec![0.0; CATEGORIES.len()];
        for &index in &person.merchants {
            out[merchants[index].label as usize] += 1.0 / person.merchants.len() as f64;
        }
        out
    }

    #[test]
    fn a_seed_makes_the_same_people() {
        let merchants = merchants::embedded().expect("the data is in the repository");
        let (one, again, other) = (
            people(12, &merchants, Habits::default(), 3),
            people(12, &merchants, Habits::default(), 3),
            people(12, &merchants, Habits::default(), 4),
        );
        assert_eq!(one[5].statement, again[5].statement);
        assert_ne!(one[5].statement, other[5].statement);
    }
}
