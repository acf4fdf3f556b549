package docs;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class DocumentTest {
    @Test
    public void text() {
        Document document = new Document("a");
        document.append("b");
        document.rename("c");
        assertEquals("c\nb", document.text());
    }
}
