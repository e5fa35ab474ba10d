"""The document kinds: their fields, what the fields may be called, and the texts they are written in.

A template is a row of clauses divided by `|`. A clause whose field is null is left out, and a clause without a
field (small talk, a distracting number) is left out half the time, so one template gives many texts.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import values
from .values import Maker


@dataclass(frozen=True)
class Kind:
    """One kind of document.

    fields: field -> the key names an answer may use, the shipped schema's first.
    labels: field -> what precedes its value in documents written as a list of labelled lines.
    """

    fields: dict[str, tuple[str, ...]]
    makers: dict[str, Maker]
    labels: dict[str, tuple[str, ...]]
    headings: tuple[str, ...]
    templates: tuple[str, ...]


CONTACT = Kind(
    fields={
        "name": ("name", "full_name", "person", "contact_name"),
        "role": ("role", "job_title", "position"),
        "company": ("company", "organization", "employer"),
        "phone": ("phone", "telephone", "phone_number", "mobile"),
        "email": ("email", "email_address", "mail"),
        "city": ("city", "location", "town"),
    },
    makers={
        "name": values.person,
        "role": values.role,
        "company": values.company,
        "phone": values.phone,
        "email": values.email,
        "city": values.city,
    },
    labels={
        "name": ("Name", "name", "Contact", "Full name"),
        "role": ("Title", "Position", "Role", "job"),
        "company": ("Company", "Employer", "Org", "company", "Firm"),
        "phone": ("Phone", "Tel", "Tel.", "tel", "Mobile", "T", "Cell"),
        "email": ("Email", "E-mail", "Mail", "email", "E"),
        "city": ("City", "Location", "Based in", "city", "Town"),
    },
    headings=("Contact card", "New contact", "Business card", "CONTACT", "Address book entry", "vcard"),
    templates=(
        "{name}|, {role}| at {company}|, {city}|. Phone {phone}|, email {email}|.",
        "{name}\n|{role}\n|{company}\n|{city}\n|{phone}\n|{email}",
        "Please add {name}| from {company}| to my contacts. |The number is {phone}.| Mail: {email}.| Lives in {city}.",
        "You can reach {name}| ({role})| on {phone}| or by mail at {email}|. |The office is in {city}.",
        "My new {role}| is {name}|, previously at {company}|. Call {phone}|. |Write to {email}.",
        "Met {name}| at the fair in {city}|. Works for {company}| as {role}|. Gave me this number: {phone}|. {email}",
        "{company}|, {city}|\n{name}|, {role}|\nTel. {phone}|\n{email}",
        "Hi, this is {name}| from {company}|. |Call me back on {phone}|, or mail {email}|. Thanks!",
        "Regards,\n|{name}\n|{role}| | {company}|\nM: {phone}|\n{email}|\n{city}",
        "{name}| is the {role}| of {company}|. |Her direct line is {phone}|; her address is {email}|.",
        "For questions contact {name}|, tel. {phone}|, {email}|. |{company}|, {city}|.",
        "{name}| <{email}>|, {company}|, {phone}|",
        "Ask for {name}| when you call {phone}|. He is {role}| with {company}| in {city}|.",
        "Our {role}| {name}| has moved to {city}|. |New phone: {phone}.| New mail: {email}.",
        "{company}| hired {name}| as {role}|. |Contact: {email}|, {phone}|.",
        "I am {name}|, {role}|. |I work in {city}| for {company}|. |{phone} is my number|. {email}",
        "Landlord: {name}|, {phone}|, {email}|. |Office hours 9 to 5.",
        "The plumber's name is {name}|, from {company}|, number {phone}|. |He is based in {city}.",
        "{name}| / {company}| / {phone}| / {email}| / {city}",
        "Emergency contact: {name}|. Reach at {phone}|. |Works at {company}|.",
        "{name}| left {company}| and now lives in {city}|; use {email}| or {phone}| from now on.",
        "Dear all, {name}| joins us from {company}| in {city}| as {role}|. |Say hello: {email}|, ext {phone}|.",
        "Spoke to {name}| ({company}|) today. |Wants an offer by mail to {email}|, phone {phone}|.",
        "speaker: {name}|, {role}|, {company}|, {city}|. |contact {email}|",
        "{phone}| - {name}|, {role}| - {email}| - {city}",
        "Write to {email}| or ring {phone}| and ask for {name}|. |{company}| is located in {city}|.",
        "Dr's office in {city}|: {name}|, {role}|. Appointments under {phone}|. |{email}",
        "{name}| ({city}|) - {role}| at {company}|. P: {phone}|. E: {email}|. |Fax on request.",
        "Say hi to {name}|! |{role} at {company}|, {city}| based. |Drop a line: {email}|. Phone {phone}|.",
        "The person in charge at {company}| is {name}|. |Telephone {phone}|. |Email address: {email}|.",
        "Saved from call: {phone}|, {name}|, |{company}|. |Will call again tomorrow.",
        "{name}| runs {company}| out of {city}|. |Best by email: {email}|. |Phone only if urgent: {phone}|.",
        "Please forward this to {name}|, our {role}|, at {email}|. |Tel {phone}|. |Kind regards, {company}|",
        "Contact for press: {name}|, {company}|, {city}|, phone {phone}|, mail {email}|",
    ),
)

EVENT = Kind(
    fields={
        "title": ("title", "event", "event_name"),
        "date": ("date", "day", "event_date"),
        "time": ("time", "start_time", "starts_at"),
        "place": ("place", "venue", "where"),
        "host": ("host", "organizer", "organiser"),
        "price": ("price", "entry_fee", "cost"),
    },
    makers={
        "title": values.event_title,
        "date": values.date,
        "time": values.time,
        "place": values.venue,
        "host": values.host,
        "price": values.event_price,
    },
    labels={
        "title": ("Event", "What", "Title", "event"),
        "date": ("Date", "When", "date", "Day"),
        "time": ("Time", "Start", "Starts", "Doors", "time", "From"),
        "place": ("Place", "Where", "Venue", "Location", "place"),
        "host": ("Host", "Organiser", "By", "Organized by", "host"),
        "price": ("Price", "Entry", "Cost", "Tickets", "Admission", "Fee"),
    },
    headings=("EVENT NOTICE", "Save the date", "What's on", "Invitation", "Coming up", "Notice board"),
    templates=(
        "{title}| on {date}| at {time}|, {place}|. Hosted by {host}|. Entry: {price}|.",
        "Join us for the {title}|! |{date}|, {time}|, {place}|. |Tickets {price}|.",
        "{host}| invites you to {title}| on {date}|. |Doors open at {time}|. |Location: {place}|. |RSVP soon.",
        "Don't miss {title}| at {place}|. |It starts at {time}| on {date}|. |Admission is {price}|.",
        "On {date}| we meet at {place}| for the {title}|. |Begin: {time}|. |Bring a friend!",
        "{date}|, {time}|: {title}|, {place}| ({price}|)",
        (
            "The {title}| returns on {date}|. |This year it takes place at {place}|, starting {time}|. |"
            "Tickets cost {price}|."
        ),
        "Reminder: {title}| is on {date}| at {time}|. |Meeting point is {place}|. |Questions? Ask {host}|.",
        "Come to {place}| on {date}| for {title}|, organised by {host}|. |Price: {price}|.",
        "{title}\n|{date}| {time}\n|{place}\n|{price}\n|{host}",
        "Save the date! |{title}| will be held on {date}| at {place}|. |We start at {time}| sharp.",
        "The {title}| has been moved to {date}|, {time}|. |New venue: {place}|. |Old tickets stay valid.",
        "{host}| presents: {title}|. |{place}|, {date}|, {time}|. |{price} at the door|.",
        "You are invited! |What: {title}|. When: {date}| at {time}|. Where: {place}|.",
        "Every ticket for {title}| costs {price}|. |Show begins {time}| on {date}| at {place}|.",
        "Our club is planning {title}| for {date}|. |{host} will lead it|. |We gather at {time}| in {place}|.",
        "Free places left for {title}| ({date}|, {time}|). |Where? {place}|. |Cost? {price}|.",
        "{place}| hosts {title}| on {date}| from {time}|. |Presented by {host}|. |Seats are limited.",
        "See you on {date}|! {title}| at {place}|, {time}|. |Entry {price}|, pay at the door.",
        "hey, are you coming to {title}| on {date}|? |it's at {place}|, {time}|, {price}",
        "Tonight's {title}| is cancelled. |New date: {date}|, {time}|, same place: {place}|. |Sorry! {host}|",
        "Announcement by {host}|: {title}|, {date}|, {place}|. |Starts: {time}|. |Fee: {price}|",
        (
            "Sign up for {title}|. |It happens {date}| between breakfast and lunch, from {time}|"
            ", in {place}|. |Fee {price}|."
        ),
        "We celebrate {title}| on {date}|. |Music from {time}|. |{place} is easy to reach by bus|.",
        "Calendar: {date}| - {title}| - {place}| - {time}| - {price}",
        "{title}| | {place}| | {date}| | {time}| | {host}|",
        (
            "{host}| is running a {title}| at {place}| this season; the first one is {date}|, {time}|. |"
            "{price} per person|."
        ),
        "At {time}| on {date}| the doors of {place}| open for {title}|. |Admission {price}|.",
        "Dear members, the {title}| takes place on {date}|. |Time: {time}|. |Host: {host}|. |Contribution: {price}|.",
        "Looking for something to do on {date}|? |Try {title}| at {place}|! |{price}|, {time}|.",
        "Volunteers wanted for {title}| on {date}|, {place}|. |Be there by {time}|. |Contact {host}|.",
        "This {date}|: {title}|. {place}|. {time}|. {price}|. Be there!",
        "Posted by {host}|: we are doing {title}| again, {date}|, {time}|, at {place}|.",
        "{title}| with {host}|, {date}|, starts {time}|, {place}|, {price}|. |Parking behind the building.",
    ),
)

ORDER = Kind(
    fields={
        "item": ("item", "article", "product_name"),
        "quantity": ("quantity", "amount", "count"),
        "price": ("price", "unit_price", "cost"),
        "customer": ("customer", "buyer", "ordered_by"),
        "order_number": ("order_number", "order_id", "reference"),
        "delivery": ("delivery", "delivery_date", "due_date"),
    },
    makers={
        "item": values.item,
        "quantity": values.quantity,
        "price": values.money,
        "customer": lambda s: values.person(s) if s.rng.random() < 0.6 else values.company(s),
        "order_number": values.reference,
        "delivery": values.date,
    },
    labels={
        "item": ("Item", "Article", "Product", "item", "Goods"),
        "quantity": ("Qty", "Quantity", "Amount", "qty", "Pieces"),
        "price": ("Price", "Unit price", "Each", "price", "Cost"),
        "customer": ("Customer", "Buyer", "For", "Client", "Ship to"),
        "order_number": ("Order", "Order no.", "Order #", "Ref", "PO", "Order number"),
        "delivery": ("Delivery", "Deliver by", "Due", "Needed by", "Ship date"),
    },
    headings=("ORDER", "Purchase order", "New order", "Order line", "Order confirmation"),
    templates=(
        "Order {order_number}|: {quantity}| x {item}| at {price}| each|, for {customer}|, deliver by {delivery}|.",
        "{customer}| ordered {quantity}| {item}| for {price}|. |Delivery on {delivery}|. |Order no. {order_number}|.",
        "Please send {quantity}| {item}| to {customer}|. |Price as agreed: {price}|. |We need it by {delivery}|.",
        "{quantity}x {item}| @ {price}| ({order_number}|)",
        "I would like to order {quantity}| {item}|. |Ship it to {customer}|. |It must arrive before {delivery}|.",
        "Hello, can we get {quantity}| {item}| by {delivery}|? |Budget is {price}| per piece. |Thanks, {customer}|",
        "Your order {order_number}| of {quantity}| {item}| will arrive on {delivery}|. |Total per unit {price}|.",
        "{order_number}| | {item}| | {quantity}| | {price}| | {customer}",
        "{item}|, {quantity}|, {price}|, {customer}|, {delivery}",
        (
            "Purchase order {order_number}| from {customer}|. |We order {item}|, quantity {quantity}|"
            ", unit price {price}|."
        ),
        "For {customer}|: {quantity}| {item}|, ref {order_number}|. |Leave at reception.",
        "Dear team, {customer}| wants {quantity}| more {item}| under {order_number}|. |Deadline {delivery}|.",
        "Re {order_number}|: the {item}| cost {price}| apiece. |Quantity stays at {quantity}|. |Expected {delivery}|.",
        "Confirming {quantity}| {item}| at {price}|, shipping {delivery}|. |Ordered by {customer}|.",
        "Change order {order_number}| to {quantity}| {item}|. |New delivery date is {delivery}|.",
        "Could you deliver {item}| on {delivery}|? |We need {quantity}|. |Charge {price}| to {customer}|.",
        "{customer}| - {item}| - {quantity}| - due {delivery}| - {price}",
        "Restock: {item}|. Amount: {quantity}|. |Supplier asks {price}| each. |PO {order_number}|.",
        "We received the order {order_number}|. |{quantity} {item}| will be sent to {customer}| on {delivery}|.",
        "hi, {customer}| here. |{quantity} of the {item}| please, at {price}|. |Needed for {delivery}|.",
        "Item {item}| is on backorder until {delivery}|. |Order {order_number}| of {customer}| waits for {quantity}|.",
        "Invoice for {item}|: {quantity}| at {price}|. |Order reference {order_number}|. |Payable in 30 days.",
        "One line from {customer}|: {item}|, {quantity}|. |List price {price}|. |Deliver {delivery}|.",
        "Phone order. |{customer}| takes {quantity}| {item}| for {price}|. |Pick up {delivery}|.",
        "Please reserve {quantity}| {item}| for {customer}| until {delivery}|. |They cost {price}|.",
        "The {item}| ({price}|) sold out; {customer}| still needs {quantity}| by {delivery}|. |See {order_number}|.",
        "Order number {order_number}|\n{item}|\nQty {quantity}|\n{price}|\n{customer}",
        "Shipment {delivery}|: {quantity}| {item}|, consignee {customer}|, order {order_number}|.",
        "Add {quantity}| {item}| to {order_number}|. |Same price, {price}|. |Signed {customer}|.",
        "Quote accepted: {item}|, {price}| per unit, {quantity}|. |Send by {delivery}|. |Regards {customer}|",
        "we're out of {item}| again, get {quantity}| by {delivery}|, should be {price}",
        "Ticket for the warehouse: pick {quantity}| {item}|, order {order_number}|, goes out {delivery}|.",
        (
            "Thank you for buying {item}|, {customer}|! |Your order id is {order_number}|. |"
            "You paid {price}| each for {quantity}|."
        ),
        "{customer}| has returned {quantity}| {item}| from order {order_number}|. |Refund {price}|.",
    ),
)

TICKET = Kind(
    fields={
        "customer": ("customer", "reporter", "requester"),
        "product": ("product", "device", "software"),
        "problem": ("problem", "issue", "complaint"),
        "ticket_number": ("ticket_number", "ticket_id", "case_number"),
        "email": ("email", "contact_email", "reply_to"),
        "priority": ("priority", "urgency", "severity"),
    },
    makers={
        "customer": values.person,
        "product": values.product,
        "problem": values.problem,
        "ticket_number": values.reference,
        "email": values.email,
        "priority": values.priority,
    },
    labels={
        "customer": ("Customer", "From", "Reporter", "User", "Name"),
        "product": ("Product", "Device", "Item", "product", "Model"),
        "problem": ("Problem", "Issue", "Subject", "Description", "issue"),
        "ticket_number": ("Ticket", "Ticket no.", "Case", "ID", "Ticket #"),
        "email": ("Email", "Reply to", "E-mail", "Mail", "Contact"),
        "priority": ("Priority", "Severity", "priority", "Urgency"),
    },
    headings=("SUPPORT TICKET", "Support request", "New ticket", "Helpdesk", "Bug report"),
    templates=(
        "Ticket {ticket_number}|: {customer}| reports that {problem}| on the {product}|. |Priority {priority}|.",
        "Hello, I have a {product}| and {problem}|. |Please help. |{customer}|, {email}",
        "My {product}| is giving me trouble: {problem}|. |My ticket is {ticket_number}|. |Thanks, {customer}|",
        "{customer}| writes: {problem}|. |Product: {product}|. |Reply to {email}|.",
        "Hi support, {problem}|. |I am using {product}|. |You can answer to {email}|. |Best, {customer}|",
        "[{ticket_number}|] {product}|: {problem}| ({priority}|)",
        "Case {ticket_number}| was opened by {customer}|. |It concerns the {product}|; {problem}|.",
        "Since I bought the {product}|, {problem}|. |It is {priority}|. |Contact me at {email}|.",
        "Caller {customer}| says {problem}|. |Model {product}|. |Logged as {ticket_number}|.",
        "Dear helpdesk, on my {product}| {problem}|. |Could somebody look at {ticket_number}|? |{customer}|",
        "{priority}| - {product}| - {problem}| - {customer}| - {email}",
        "I already wrote to you about {ticket_number}|. |Still {problem}|. |The {product}| is new! |{customer}|",
        "The {product}| I ordered does not work as expected. |In short: {problem}|. |Write to {email}|. |{customer}|",
        "Reopened {ticket_number}|: {problem}| again. |Customer {customer}| is using {product}|. |Set to {priority}|.",
        "Could you check why {problem}|? |Device: {product}|. |Name: {customer}|, mail {email}|.",
        "{customer}| ({email}|) has a problem with {product}|: {problem}|.",
        "Bug in {product}|: {problem}|. |Severity: {priority}|. |Reported by {customer}|.",
        "Good morning, {customer}| speaking. |With my {product}|, {problem}|. |Reach me under {email}|.",
        "New request {ticket_number}| from {email}|. |{problem}|. |Affected product {product}|.",
        "hey, {problem}| with {product}|, can you fix it? |{customer}|",
        "We escalate {ticket_number}| to {priority}|. |{customer} says that {problem}|. |Product: {product}|.",
        "{product}| user {customer}| complains: {problem}|. |Ref {ticket_number}|.",
        "Please mark this as {priority}|: {problem}|. |I use the {product}| daily. |{customer}|, {email}",
        "Help! {problem}|, and I need the {product}| for work. |{email}|",
        "Chat log: {customer}| joined. |Issue: {problem}|. |Hardware: {product}|. |Ticket created: {ticket_number}|.",
        "It's {customer}| again about my {product}|. |This time {problem}|. |Urgency {priority}|.",
        "Returned: {product}|, because {problem}|. |Owner {customer}|, {email}|. |RMA {ticket_number}|.",
        "Number {ticket_number}|, {priority}| priority. |{customer}: {problem}|. |{product}",
        (
            "To whom it may concern, {problem}| ever since I installed {product}|. |Answer to {email}|"
            ", please. |{customer}|"
        ),
        "Subject: {product}|\n{problem}|.\nRegards\n{customer}|\n{email}",
        "Internal note on {ticket_number}|: {customer}| called twice, {problem}|. |They own a {product}|.",
        "According to {customer}|, {problem}| when using the {product}|. |Treat as {priority}|.",
        "Two of our {product}| units have the same fault: {problem}|. |Case id {ticket_number}|. |{email}|",
        "Your ticket {ticket_number}| has been received. |We understand that {problem}|. |We will answer to {email}|.",
    ),
)

RECEIPT = Kind(
    fields={
        "shop": ("shop", "store", "merchant"),
        "date": ("date", "purchase_date", "day"),
        "time": ("time", "purchase_time"),
        "total": ("total", "amount_paid", "sum"),
        "tax": ("tax", "vat"),
        "payment": ("payment", "payment_method", "paid_with"),
    },
    makers={
        "shop": values.shop,
        "date": values.date,
        "time": values.time,
        "total": values.money,
        "tax": values.money,
        "payment": values.payment,
    },
    labels={
        "shop": ("Shop", "Store", "Merchant", "shop", "Seller"),
        "date": ("Date", "date", "Day", "On"),
        "time": ("Time", "time", "At"),
        "total": ("Total", "TOTAL", "Sum", "Amount", "To pay", "Total due", "total"),
        "tax": ("Tax", "VAT", "incl. VAT", "Sales tax", "TAX"),
        "payment": ("Paid by", "Payment", "Paid with", "Method", "Tender"),
    },
    headings=("RECEIPT", "Receipt", "Thank you for your visit", "Sales slip", "*** COPY ***", "Till 3"),
    templates=(
        "{shop}|\n{date}| {time}|\nTOTAL {total}|\nVAT {tax}|\n{payment}|\nThank you!",
        "Receipt from {shop}|, {date}|. |Total {total}|, tax {tax}|. |Paid by {payment}|.",
        "On {date}| I paid {total}| at {shop}| with {payment}|.",
        "Thank you for shopping at {shop}|! |{date}|, {time}|. |Amount: {total}| incl. {tax}| VAT|. |{payment}",
        "{shop}| - {date}| - {total}| - {payment}",
        "Bought groceries at {shop}| on {date}|, {total}| in all|. |Paid {payment}|.",
        "Your card was charged {total}| by {shop}| on {date}| at {time}|.",
        "{date}| {time}|\n{shop}|\nCoffee 3.20\n|Cake 4.10\n|Sum {total}|\nTax {tax}|\n{payment}",
        "Lunch at {shop}|: {total}|, {tax}| of it tax. |{date}|. |{payment} payment|.",
        "Please refund {total}|, paid at {shop}| on {date}| by {payment}|.",
        "Expense: {shop}|, {date}|, {total}|, VAT {tax}|, {payment}|",
        "Total due {total}|. |Tax included {tax}|. |Paid: {payment}|. |{shop}|, {date}|",
        "We confirm your payment of {total}| to {shop}|. |Date: {date}|, time: {time}|. |Method: {payment}|.",
        "{shop}| thanks you. |Subtotal 12.00, |tax {tax}|, total {total}|. |{payment}|. {date}| {time}|",
        "At {time}| on {date}| you spent {total}| at {shop}|. |You used {payment}|.",
        "Cash register 4, {shop}|. |{date}|. |2 items. |TOTAL: {total}|. TAX: {tax}|. {payment}|. Change 0.00",
        "Filed the receipt of {shop}| ({date}|): {total}| with {tax}| VAT|.",
        "Payment received with {payment}|: {total}|. |Seller {shop}|, {date}| {time}|.",
        "I spent {total}| on books in {shop}| yesterday, |{date}|. |The tax was {tax}|.",
        "{total}| | {shop}| | {date}| | {payment}|",
        "{shop}|, table 7, |{date}|, {time}|. |Bill: {total}|. |Service included. |{payment}",
        "Taxi and snack: {total}| at {shop}|, {payment}|, {date}|.",
        "Invoice paid at {shop}|. |Amount {total}| ({tax}| VAT)|. |{date}|, {payment}|.",
        "Dear customer, on {date}| at {time}| {shop}| received {total}| by {payment}|.",
        "Bill from {shop}|\nDate {date}|\nTax {tax}|\nGrand total {total}|\n{payment} accepted",
        "the {shop}| receipt says {total}|, {date}|, {payment}|, tax {tax}",
        "Return slip {shop}|. |Bought {date}|, {time}|. |Paid {total}| via {payment}|.",
        "Parking and dinner, {date}|. {shop}|. |All together {total}|. |{payment} was used|.",
        "{payment}| payment of {total}| at {shop}|, {date}| {time}|. |Approved.",
        "Sale no. 88 at {shop}|: net 20.00, |VAT {tax}|, gross {total}|. |{date}|",
        "You have paid {shop}| {total}|. |This includes {tax}| tax|. |{date}|, {time}|, {payment}|",
        "Reimburse me for {shop}| please: {total}|, bought on {date}| with my {payment}|.",
        "*** {shop}| ***\n{date}| {time}|\nItems 3\n|AMOUNT {total}|\nPAID {payment}|\nincl. tax {tax}",
        "My statement shows {total}| to {shop}| on {date}|. |I paid with {payment}|. |Is that right?",
    ),
)

KINDS: dict[str, Kind] = {
    "contacts": CONTACT,
    "events": EVENT,
    "orders": ORDER,
    "tickets": TICKET,
    "receipts": RECEIPT,
}
