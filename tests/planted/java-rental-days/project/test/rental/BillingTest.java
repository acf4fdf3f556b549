package rental;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class BillingTest {
    @Test
    public void theSeventhDayIsFree() {
        assertEquals(600, Billing.price(6, 100));
        assertEquals(600, Billing.price(7, 100));
        assertEquals(1200, Billing.price(14, 100));
    }
}
