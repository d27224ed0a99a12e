//! What RE2 calls the groups of Unicode: general categories and scripts, by these names alone.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

/// None: RE2 has none of this name. Which characters are in a group follows the version of Unicode that we have.
pub fn named(name: &str) -> Option<ClassUnicode> {
    match name {
        "Any" => Some(group("Any")),
        // Without the code points that are not assigned, which Unicode counts among them.
        "C" => Some(["Cc", "Cf", "Co"].map(group).into_iter().fold(ClassUnicode::empty(), both)),
        "Cs" => Some(ClassUnicode::empty()), // no text contains a surrogate
        _ if CATEGORIES.contains(&name) => Some(group(&format!("gc={name}"))),
        _ if SCRIPTS.binary_search(&name).is_ok() => Some(group(&format!("sc={name}"))),
        _ => None,
    }
}

fn both(mut one: ClassUnicode, other: ClassUnicode) -> ClassUnicode {
    one.union(&other);
    one
}

fn group(name: &str) -> ClassUnicode {
    let parsed = regex_syntax::parse(&format!(r"\p{{{name}}}")).map(regex_syntax::hir::Hir::into_kind);
    match parsed {
        Ok(HirKind::Class(Class::Unicode(set))) => set,
        Ok(HirKind::Literal(one)) => ClassUnicode::new(
            String::from_utf8_lossy(&one.0).chars().map(|c| ClassUnicodeRange::new(c, c)), // Zl and Zp have one each
        ),
        other => unreachable!("{name} is in the tables below and in those of regex-syntax: {other:?}"),
    }
}

#[rustfmt::skip]
const CATEGORIES: [&str; 34] = [
    "Cc", "Cf", "Co", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

#[rustfmt::skip]
const SCRIPTS: [&str; 163] = [
    "Adlam", "Ahom", "Anatolian_Hieroglyphs", "Arabic", "Armenian", "Avestan", "Balinese", "Bamum", "Bassa_Vah",
    "Batak", "Bengali", "Bhaiksuki", "Bopomofo", "Brahmi", "Braille", "Buginese", "Buhid", "Canadian_Aboriginal",
    "Carian", "Caucasian_Albanian", "Chakma", "Cham", "Cherokee", "Chorasmian", "Common", "Coptic", "Cuneiform",
    "Cypriot", "Cypro_Minoan", "Cyrillic", "Deseret", "Devanagari", "Dives_Akuru", "Dogra", "Duployan",
    "Egyptian_Hieroglyphs", "Elbasan", "Elymaic", "Ethiopic", "Georgian", "Glagolitic", "Gothic", "Grantha", "Greek",
    "Gujarati", "Gunjala_Gondi", "Gurmukhi", "Han", "Hangul", "Hanifi_Rohingya", "Hanunoo", "Hatran", "Hebrew",
    "Hiragana", "Imperial_Aramaic", "Inherited", "Inscriptional_Pahlavi", "Inscriptional_Parthian", "Javanese",
    "Kaithi", "Kannada", "Katakana", "Kawi", "Kayah_Li", "Kharoshthi", "Khitan_Small_Script", "Khmer", "Khojki",
    "Khudawadi", "Lao", "Latin", "Lepcha", "Limbu", "Linear_A", "Linear_B", "Lisu", "Lycian", "Lydian", "Mahajani",
    "Makasar", "Malayalam", "Mandaic", "Manichaean", "Marchen", "Masaram_Gondi", "Medefaidrin", "Meetei_Mayek",
    "Mende_Kikakui", "Meroitic_Cursive", "Meroitic_Hieroglyphs", "Miao", "Modi", "Mongolian", "Mro", "Multani",
    "Myanmar", "Nabataean", "Nag_Mundari", "Nandinagari", "New_Tai_Lue", "Newa", "Nko", "Nushu",
    "Nyiakeng_Puachue_Hmong", "Ogham", "Ol_Chiki", "Old_Hungarian", "Old_Italic", "Old_North_Arabian", "Old_Permic",
    "Old_Persian", "Old_Sogdian", "Old_South_Arabian", "Old_Turkic", "Old_Uyghur", "Oriya", "Osage", "Osmanya",
    "Pahawh_Hmong", "Palmyrene", "Pau_Cin_Hau", "Phags_Pa", "Phoenician", "Psalter_Pahlavi", "Rejang", "Runic",
    "Samaritan", "Saurashtra", "Sharada", "Shavian", "Siddham", "SignWriting", "Sinhala", "Sogdian", "Sora_Sompeng",
    "Soyombo", "Sundanese", "Syloti_Nagri", "Syriac", "Tagalog", "Tagbanwa", "Tai_Le", "Tai_Tham", "Tai_Viet",
    "Takri", "Tamil", "Tangsa", "Tangut", "Telugu", "Thaana", "Thai", "Tibetan", "Tifinagh", "Tirhuta", "Toto",
    "Ugaritic", "Vai", "Vithkuqi", "Wancho", "Warang_Citi", "Yezidi", "Yi", "Zanabazar_Square",
];

#[cfg(test)]
mod tests {
    #[test]
    fn every_name_is_one() {
        for name in super::CATEGORIES.iter().chain(&super::SCRIPTS) {
            assert!(!super::named(name).expect(name).ranges().is_empty(), "{name}");
        }
        assert!(super::SCRIPTS.is_sorted());
    }
}
