package query;

/** What is known of keywords. */
public final class Keywords {
    private Keywords() {}

    /** Whether a keyword can begin a query. */
    public static boolean begins(Keyword keyword) {
        return keyword == Keyword.SELECT;
    }
}
