package orders;

import java.util.ArrayList;
import java.util.List;

/** The orders of a day, in the order in which they came. */
public class Orders {
    private final List<String> ids = new ArrayList<>();
    private final List<Long> customers = new ArrayList<>();

    public void add(String id, Long customer) {
        if (customer == null) {
            throw new IllegalArgumentException("an order has a customer");
        }
        ids.add(id);
        customers.add(customer);
    }

    /** How many orders are of the same customer as the one before. */
    public int customersInARow() {
        int found = 0;
        for (int i = 1; i < customers.size(); i++) {
            if (customers.get(i) == customers.get(i - 1)) {
                found++;
            }
        }
        return found;
    }

    public int count() {
        return ids.size();
    }
}
