//! Sequences that are and are not UTF-8, in the categories of Markus Kuhn's stress test.

/// Text that must pass.
pub(super) const GOOD: &[(&str, &[u8])] = &[
    ("the_greek_word_kosme", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"),
    ("chinese", "欢迎大哥光临!".as_bytes()),
    ("a_family_of_joined_emoji", "👨‍👩‍👧‍👦".as_bytes()),
    ("combining_marks", b"e\xcc\x81\xcc\x82\xcc\x83"),
    ("right_to_left", "שלום عليكم".as_bytes()),
    ("a_byte_order_mark", b"\xef\xbb\xbfx"),
    ("the_first_of_1_byte", b"\x00"),
    ("the_first_of_2_bytes", b"\xc2\x80"),
    ("the_first_of_3_bytes", b"\xe0\xa0\x80"),
    ("the_first_of_4_bytes", b"\xf0\x90\x80\x80"),
    ("the_last_of_1_byte", b"\x7f"),
    ("the_last_of_2_bytes", b"\xdf\xbf"),
    ("the_last_of_3_bytes", b"\xef\xbf\xbf"),
    ("the_last_of_4_bytes", b"\xf4\x8f\xbf\xbf"),
    ("the_last_before_the_surrogates", b"\xed\x9f\xbf"),
    ("the_first_after_the_surrogates", b"\xee\x80\x80"),
    ("the_replacement_character", b"\xef\xbf\xbd"),
    ("noncharacter_fffe", b"\xef\xbf\xbe"),
    ("noncharacters_fdd0_to_fdef", b"\xef\xb7\x90\xef\xb7\xaf"),
    ("noncharacter_1ffff", b"\xf0\x9f\xbf\xbf"),
    ("noncharacter_10fffe", b"\xf4\x8f\xbf\xbe"),
    ("control_characters", b"\x01\x1b[0m\r\n\t\x7f\xc2\x85"),
];

/// Bytes that no text may have; those that only stop too early are bad at the message's end.
pub(super) const BAD: &[(&str, &[u8])] = &[
    ("the_continuation_byte_80", b"\x80"),
    ("the_continuation_byte_bf", b"\xbf"),
    ("two_continuation_bytes", b"\x80\xbf"),
    ("seven_continuation_bytes", b"\x80\xbf\x80\xbf\x80\xbf\x80"),
    ("a_continuation_byte_too_many", b"\xc3\xa9\xa9"),
    ("the_lonely_start_c2_and_a_space", b"\xc2 "),
    ("the_lonely_start_df_and_a_space", b"\xdf "),
    ("the_lonely_start_e0_and_a_space", b"\xe0 "),
    ("the_lonely_start_ef_and_a_space", b"\xef "),
    ("the_lonely_start_f0_and_a_space", b"\xf0 "),
    ("the_lonely_start_f4_and_a_space", b"\xf4 "),
    ("two_starts_in_a_row", b"\xc3\xc3\xa9"),
    ("2_bytes_without_the_last", b"\xc3"),
    ("3_bytes_without_the_last", b"\xe2\x82"),
    ("3_bytes_without_the_last_two", b"\xe2"),
    ("4_bytes_without_the_last", b"\xf0\x9f\x98"),
    ("4_bytes_without_the_last_two", b"\xf0\x9f"),
    ("4_bytes_without_the_last_three", b"\xf0"),
    ("3_bytes_cut_by_a_letter", b"\xe2\x82x"),
    ("4_bytes_cut_by_a_letter", b"\xf0\x9f\x98x"),
    ("the_impossible_byte_fe", b"\xfe"),
    ("the_impossible_byte_ff", b"\xff"),
    ("the_impossible_bytes_fe_fe_ff_ff", b"\xfe\xfe\xff\xff"),
    ("the_start_c0", b"\xc0\x80"),
    ("the_start_c1", b"\xc1\xbf"),
    ("an_overlong_slash_in_2_bytes", b"\xc0\xaf"),
    ("an_overlong_slash_in_3_bytes", b"\xe0\x80\xaf"),
    ("an_overlong_slash_in_4_bytes", b"\xf0\x80\x80\xaf"),
    ("an_overlong_slash_in_5_bytes", b"\xf8\x80\x80\x80\xaf"),
    ("an_overlong_slash_in_6_bytes", b"\xfc\x80\x80\x80\x80\xaf"),
    ("the_largest_overlong_of_3_bytes", b"\xe0\x9f\xbf"),
    ("the_largest_overlong_of_4_bytes", b"\xf0\x8f\xbf\xbf"),
    ("an_overlong_nul_in_3_bytes", b"\xe0\x80\x80"),
    ("an_overlong_nul_in_4_bytes", b"\xf0\x80\x80\x80"),
    ("the_surrogate_d800", b"\xed\xa0\x80"),
    ("the_surrogate_db7f", b"\xed\xad\xbf"),
    ("the_surrogate_dbff", b"\xed\xaf\xbf"),
    ("the_surrogate_dc00", b"\xed\xb0\x80"),
    ("the_surrogate_dfff", b"\xed\xbf\xbf"),
    ("a_pair_of_surrogates", b"\xed\xa0\x80\xed\xb0\x80"),
    ("the_last_pair_of_surrogates", b"\xed\xaf\xbf\xed\xbf\xbf"),
    ("the_first_beyond_10ffff", b"\xf4\x90\x80\x80"),
    ("the_start_f5", b"\xf5\x80\x80\x80"),
    ("the_largest_of_4_bytes", b"\xf7\xbf\xbf\xbf"),
    ("the_smallest_of_5_bytes", b"\xf8\x88\x80\x80\x80"),
    ("the_largest_of_6_bytes", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    ("latin_1", b"caf\xe9 cr\xe8me"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_library_agrees() {
        for (name, bytes) in GOOD {
            assert!(std::str::from_utf8(bytes).is_ok(), "{name}");
        }
        for (name, bytes) in BAD {
            assert!(std::str::from_utf8(bytes).is_err(), "{name}");
        }
    }
}
