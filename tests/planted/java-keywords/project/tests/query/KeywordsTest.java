package query;

import static org.junit.Assert.*;

import org.junit.Test;

public class KeywordsTest {
    @Test
    public void queriesBeginWithSelect() {
        assertTrue(Keywords.begins(Keyword.SELECT));
        assertFalse(Keywords.begins(Keyword.FROM));
    }
}
