package query;

import java.util.Optional;

/** What is known of keywords. */
public final class Keywords {
    private Keywords() {}

    /** The keyword that a word is, in whatever case it is written. */
    public static Optional<Keyword> find(String word) {
        try {
            return Optional.of(Keyword.valueOf(word.toUpperCase()));
        } catch (IllegalArgumentException unknown) {
            return Optional.empty();
        }
    }

    /** Whether a keyword can begin a query. */
    public static boolean begins(Keyword keyword) {
        return keyword == Keyword.SELECT;
    }
}
