//! Persons: the bidders and sellers.

use arrow_array::ArrayRef;
use arrow_buffer::{NullBuffer, ScalarBuffer};
use millstream_engine::Result;

use super::events::{Event, Field, Frame, Kind, Tables, no_field};
use crate::generator::{Draws, below};

/// The id of person 0; bids and auctions refer to persons from here on.
pub(super) const FIRST_ID: i64 = 1_000;
/// Persons that may still bid and sell.
const ACTIVE: i64 = 1_000;
/// Persons that are referred to before they are created.
const LEAD: i64 = 10;

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// Number of a person who is active when `event` happens, chosen by `draw`; a few do not exist yet.
#[inline]
pub(super) fn active(tables: &Tables, event: Event, draw: u64) -> i64 {
    let people = tables.last_person(event) + 1;
    let active = people.min(ACTIVE);
    people - active + below(draw, (active + LEAD) as u64) as i64
}

pub(super) fn ids(frame: &Frame<'_>) -> ScalarBuffer<i64> {
    frame.numbers(Kind::Person, |event, _| frame.tables.last_person(event) + FIRST_ID)
}

/// The texts of one person.
struct Person<'a> {
    first_name: &'a str,
    last_name: &'a str,
    mailbox: &'a str,
    host: &'a str,
    city: &'a str,
    state: &'a str,
}

/// The draws that persons are made of.
struct People<'a> {
    tables: &'a Tables,
    name: Draws,
    email: Draws,
    city: Draws,
    state: Draws,
}

impl<'a> People<'a> {
    fn new(tables: &'a Tables) -> Self {
        Self {
            tables,
            name: tables.draws(Field::PersonName),
            email: tables.draws(Field::PersonEmail),
            city: tables.draws(Field::PersonCity),
            state: tables.draws(Field::PersonState),
        }
    }

    fn person(&self, n: u64) -> Person<'a> {
        let pick =
            |list: &'static [&'static str], draw| list.get(below(draw, list.len() as u64) as usize).copied();
        let (name, email) = (self.name.at(n), self.email.at(n));
        let letters = &self.tables.letters;
        Person {
            first_name: pick(&FIRST_NAMES, name).unwrap_or_default(),
            last_name: pick(&LAST_NAMES, name.rotate_left(32)).unwrap_or_default(),
            mailbox: letters.slice(email, 3 + below(email.rotate_left(16), 4) as usize),
            host: letters.slice(email.rotate_left(32), 3 + below(email.rotate_left(48), 2) as usize),
            city: pick(&CITIES, self.city.at(n)).unwrap_or_default(),
            state: pick(&STATES, self.state.at(n)).unwrap_or_default(),
        }
    }
}

/// Bytes of a credit card number: four groups of four digits.
const CARD_BYTES: usize = 19;

pub(super) fn text(frame: &Frame<'_>, name: &str, nulls: &NullBuffer) -> Result<ArrayRef> {
    let tables = frame.tables;
    let people = People::new(tables);
    let (card, extra) = (tables.draws(Field::PersonCard), tables.draws(Field::PersonExtra));
    let kind = Kind::Person;
    match name {
        "name" => frame.texts(kind, 16, nulls, |event, texts| {
            let person = people.person(event.n);
            texts.add(person.first_name);
            texts.add(" ");
            texts.add(person.last_name);
        }),
        "emailAddress" => frame.texts(kind, 16, nulls, |event, texts| {
            let person = people.person(event.n);
            texts.add(person.mailbox);
            texts.add("@");
            texts.add(person.host);
            texts.add(".com");
        }),
        "creditCard" => frame.texts(kind, CARD_BYTES, nulls, |event, texts| {
            let mut number = card.below(event.n, 10_000_000_000_000_000);
            let mut digits = [b' '; CARD_BYTES];
            for at in (0..CARD_BYTES).rev().filter(|at| at % 5 != 4) {
                digits[at] = b'0' + (number % 10) as u8;
                number /= 10;
            }
            texts.add(str::from_utf8(&digits).unwrap_or_default());
        }),
        "city" => frame.texts(kind, 13, nulls, |event, texts| texts.add(people.person(event.n).city)),
        "state" => frame.texts(kind, 2, nulls, |event, texts| texts.add(people.person(event.n).state)),
        "extra" => frame.texts(kind, tables.config.avg_bytes[kind as usize], nulls, |event, texts| {
            let person = people.person(event.n);
            let name = person.first_name.len() + 1 + person.last_name.len();
            let email = person.mailbox.len() + 1 + person.host.len() + 4;
            let bytes = 8 + name + email + CARD_BYTES + person.city.len() + person.state.len();
            let draw = extra.at(event.n);
            tables.letters.fill(texts, draw, tables.extra_len(kind, bytes, draw.rotate_left(32)));
        }),
        _ => Err(no_field(name)),
    }
}
