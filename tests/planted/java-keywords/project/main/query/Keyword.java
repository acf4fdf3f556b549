package query;

/** A word that the language reserves. */
public enum Keyword {
    SELECT,
    FROM,
    WHERE,
    LIMIT,
    DISTINCT
}
