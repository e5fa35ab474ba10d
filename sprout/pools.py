"""The words that generated documents are filled with. Plain lists; `values.Source.pick` holds an eighth back."""

from __future__ import annotations


def words(text: str) -> list[str]:
    """The words of the text."""
    return text.split()


def phrases(text: str) -> list[str]:
    """What stands between the bars and line breaks of the text."""
    return text.strip().replace("\n", "|").split("|")


MONTHS = words("January February March April May June July August September October November December")
WEEKDAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

FIRST_NAMES = words("""
Anna Ben Carla David Elena Felix Grace Hugo Irene Jonas Karin Leo Maria Nils Olga Peter Rosa Sam Tara Ulrich
Vera Walter Yusuf Zoe Amir Aisha Bruno Chloe Dmitri Emma Farid Gita Hannah Ivan Jasmine Kofi Lucia Mateo Nadia
Omar Priya Quentin Rachel Sven Tomoko Uma Victor Wendy Ximena Yara Aaron Bianca Cedric Dorota Edwin Fatima
George Helga Imran Julia Kenji Laura Marco Noor Oscar Paula Rajesh Sofia Thomas Ursula Vincent Wanda Yuki Adam
Beatrice Claude Daphne Erik Fiona Gustav Hana Isaac Jane Kurt Linda Miguel Nora Oliver Petra Ralf Stella
Teodor Valerie Amina Bogdan Celeste Diego Esther Frank Greta Henrik Ingrid Jamal Kim Lars Mei Nikolai Odette
Pavel Rita Silas Tessa Umar Violet Wesley Zainab Alice Brian Cora Dylan Eva Finn Gloria Harold Isla Jerome
Keiko Liam Mona Nathan Olivia Paul Ruth Simon Theresa Ugo Vivian William Yvonne Zachary Arjun Brigitte Chen
Deborah
""")

LAST_NAMES = words("""
Abbott Bauer Castillo Dubois Eriksson Fischer Garcia Hansen Ibrahim Jansen Kowalski Lindgren Moreau Novak
Okafor Petrov Quinn Rossi Schmidt Tanaka Ueda Vargas Weber Xu Yilmaz Zimmermann Adeyemi Brandt Cohen Delgado
Evans Ferrari Gupta Holm Ivanov Johnson Kaur Lopez Meyer Nakamura Olsen Patel Ramirez Sato Turner Ulrich Vega
Walsh Young Zeller Andersson Bianchi Carter Duarte Engel Fontaine Greene Hughes Iversen Jimenez Khan Lehmann
Martins Nguyen Osman Pereira Reyes Singh Thompson Urban Virtanen Wright Yamada Zhang Ahmed Becker Clarke
Dvorak Ekman Flores Gordon Haddad Ito Jensen Keller Larsson Mbeki Norris Ortega Price Rahman Silva Torres
Unger Vogel Watson York Zuniga Allen Berg Chandra Douglas Elliott Franke Grant Hoffmann Irwin Jones Kimura
Laurent Mancini Nilsen Ochoa Palmer Richter Stewart Trevino Ullman Vasquez Williams Yates Zapata Archer Barnes
Cross Draper Everett Falk Gallo Hart Ingram Joyce Krause Lane Marsh North Oakley Pike Reed Stone Thorn
Underwood Vance West Yarrow
""")

COMPANY_WORDS = words("""
Northwind Bluestone Greenfield Silverline Redwood Brightpath Clearwater Ironbridge Oakmont Sunrise Harbor
Summit Pinnacle Cascade Meridian Atlas Orion Vertex Beacon Horizon Evergreen Lakeside Granite Falcon Willow
Cobalt Amber Keystone Juniper Lantern Compass Nordic Pacific Alpine Delta Quantum Solaris Nimbus Zephyr Aurora
Tidewater Copperfield Foxglove Riverbend Stonegate Westbrook Highland Maple Birch Cedar Elmwood Hawthorn
""")

TRADES = phrases("""
Logistics|Consulting|Media|Foods|Systems|Design|Engineering|Health|Partners|Software|Analytics|Textiles|Energy
Motors|Robotics|Publishing|Architects|Insurance|Labs|Studios|Travel|Interiors|Pharma|Electric|Construction
Bakery|Plumbing|Legal|Print|Solutions|Holdings|Chemicals|Dental|Security|Optics|Freight
""")

LEGAL_FORMS = words("Ltd Inc GmbH LLC AG PLC Co. Group Ltd. Inc. S.A. B.V. Corp Oy AB Corporation")

ROLES = phrases("""
sales manager|Sales Manager|software engineer|Software Engineer|account executive|Account Executive
project lead|head of marketing|Head of Operations|chief technology officer|CEO|CTO|CFO|office manager
Office Manager|architect|Senior Architect|product designer|Product Owner|data analyst|Data Scientist
HR advisor|lawyer|Attorney|field technician|nurse|general practitioner|veterinarian|accountant
Chartered Accountant|electrician|plumber|research fellow|Professor of Physics|journalist|editor
Managing Editor|translator|photographer|buyer|Purchasing Agent|warehouse supervisor|logistics coordinator
Customer Success Manager|founder|Co-founder|managing director|Managing Director|receptionist|tax consultant
recruiter|Vice President Sales|real estate agent|Broker|piano teacher|landscape gardener|chef|pastry chef
dentist|surveyor|insurance agent|Regional Director
""")

RANKS = phrases("Senior|Junior|Lead|Head of|Director of|Chief|Deputy|Assistant|Principal|senior|junior|lead")
FIELDS = phrases("""
Marketing|Finance|Engineering|Procurement|Research|Design|Logistics|Operations|Sales|Security|Communications
Quality|Training|engineer|designer|analyst|developer|buyer|planner|consultant
""")

MAIL_HOSTS = words("mailbox post webmail inbox fastpost letterbox homenet corpmail citynet openmail")

CITIES = phrases("""
Berlin|Lyon|Oslo|Porto|Madrid|Vienna|Hamburg|Leeds|Boston|Denver|Toronto|Sydney|Osaka|Mumbai|Nairobi|Lima
Quito|Zurich|Ghent|Utrecht|Bergen|Malmo|Tampere|Riga|Vilnius|Krakow|Brno|Graz|Turin|Bologna|Seville|Bilbao
Cork|Dublin|Cardiff|Glasgow|Bristol|York|Bath|Chicago|Austin|Seattle|Portland|Houston|Atlanta|Miami|New York
San Diego|Los Angeles|Salt Lake City|Buenos Aires|Sao Paulo|Mexico City|Cape Town|Tel Aviv|Kuala Lumpur
New Delhi|Hong Kong|Singapore|Seoul|Busan|Kyoto|Jakarta|Manila|Hanoi|Bangkok|Cairo|Tunis|Accra|Lagos|Istanbul
Athens|Sofia|Bucharest|Budapest|Prague|Warsaw|Kiel|Bonn|Bremen|Basel|Geneva|Nantes|Lille|Antwerp|Leiden|Delft
Aarhus|Turku|Reykjavik|Springfield|Riverside|Ottawa|Halifax|Perth|Adelaide|Wellington|Dunedin
""")

EVENT_THEMES = phrases("""
Jazz|Poetry|Robotics|Photography|Street Food|Book|Film|Chess|Gardening|Startup|Wine|Pottery|Science|Yoga|Salsa
Choir|Comedy|Data|Cycling|Astronomy|Baking|Painting|Folk Music|Neighbourhood|Alumni|Career|Charity|Vintage
History|Python|Security|Climate|Board Game|Theatre|Cheese|Running|Design|Beekeeping|Language|Ceramics|Blues
Harvest|Community|Knitting|Family|Open Source|Machine Learning|First Aid|Coffee|Swing Dance
""")

EVENT_FORMS = phrases("""
Night|Workshop|Festival|Fair|Meetup|Conference|Evening|Concert|Market|Club|Exhibition|Seminar|Tour|Tasting
Gala|Tournament|Picnic|Lecture|Open Day|Course|Breakfast|Summit|Jam|Reading|Sale|Class
""")

VENUE_WORDS = phrases("""
Town|City|Central|Riverside|Old Mill|Station|Victoria|Queens|Kings|Harbour|Market|Park|Castle|Abbey|Garden
Union|Royal|Lakeside|Westgate|Northside|Liberty|Chapel|College|Garrison|Orchard
""")

VENUE_FORMS = phrases("""
Hall|Library|Theatre|Community Centre|Museum|Arena|Gallery|Hotel|Pub|Church|Pavilion|Brewery|School|Stadium
Warehouse|Barn|Cafe|Auditorium|Square|Gardens|Sports Club|Conference Centre
""")

CLUBS = phrases("""
Photo Club|Choir|Historical Society|Library|Chess Club|Council|Arts Foundation|Rotary Club|Scouts|Film Society
Runners|Gardening Club|Orchestra|University|Chamber of Commerce|Youth Club|Museum Friends|Food Bank
Bike Kitchen|Parents' Association|Book Circle|Fire Brigade
""")

QUALITIES = phrases("""
red|blue|green|black|white|large|small|wooden|steel|cotton|leather|organic|folding|wireless|ceramic|glass
recycled|waterproof|heavy-duty|portable|vintage|silver|double|adjustable|stainless|soft|ergonomic|compact|A4
thermal|oak|linen|rechargeable|plain|striped|dark|golden|mini|brass|woollen
""")

THINGS = phrases("""
desk lamps|chair|chairs|coffee mugs|notebook|notebooks|printer paper|keyboard|keyboards|backpack|towels
water bottles|screwdriver set|paint brushes|candles|picture frames|garden hose|gloves|batteries|USB cables
headphones|monitor stand|envelopes|pens|storage boxes|shelf brackets|door handles|light bulbs|T-shirts|socks
blankets|cushions|tea towels|frying pan|wine glasses|cutlery set|plant pots|tomato seeds|bicycle tyres|helmet
tent|sleeping bag|yoga mats|extension cord|label rolls|safety vests|ladder|toolbox|wall clock|curtains
office chair|standing desk|bookshelf|rug|coffee beans|olive oil|paper cups|napkins|hand soap|trash bags|rulers
staplers|whiteboard|markers|webcam|microphone|phone cases|screen protectors|drill bits|wood screws
""")

PRODUCT_WORDS = words("""
Nova Aero Pixel Volt Echo Terra Lumen Stream Cloud Swift Zen Core Hydro Sonic Flex Astra Mono Vista Prime Omni
Glide Arc Pulse Nimbus Spark Vector Metro Cyber Polar Titan Rapid Orbit Helio Kite Raven
""")

PRODUCT_FORMS = phrases("""
Router|Printer|Desk|Phone|App|Mail|Watch|Camera|Pad|Tablet|Sync|Drive|Player|Vacuum|Boiler|Scanner|Kettle
Monitor|Laptop|Speaker|Thermostat|Backup|Notes|Bike|Scooter|Dashboard|Editor|Drone
""")

PARTS = phrases("""
the screen|the battery|the app|my account|the login page|the display|the power button|the invoice|the update
the motor|the connection|the search|the export|the password reset|the left speaker|the charger|the lid
the sensor|the installer|the calendar|sound|printing|the touchpad|the camera|the website|the fan|my order
the remote|the pump|the paper tray|the sync|the heating
""")

FAILURES = phrases("""
stays black|does not start|crashes|keeps freezing|is very slow|shows an error|makes a loud noise
stopped working|turns itself off|fails|does not respond|is broken|flickers|overheats|drops out|gets stuck
will not open|never arrives|is missing|shows the wrong date|loses data|leaks water|cannot be found|is locked
hangs at 90 percent|disconnects|gives error 500|will not charge
""")

CIRCUMSTANCES = phrases("""
after the last update|every morning|when I log in|on startup|since yesterday|after ten minutes|when it rains
in dark mode|on the second floor|whenever I save a file|during video calls|at random|after a restart
when two people use it|on weekends|right after charging|with large files|on my phone|since the move
without warning|when I press save
""")

SHOP_WORDS = phrases("""
Corner|Green|Golden|Village|Sunny|Old Town|Harbour|Station|Family|Rainbow|Blue Door|Little|Grand|Urban|Fresh
Happy|Silver Spoon|Mountain|Olive|Maple|Central|Royal|Lucky|Moonlight|Garden
""")

SHOP_FORMS = phrases("""
Market|Bakery|Books|Pharmacy|Hardware|Cafe|Deli|Grocery|Supermarket|Bistro|Flowers|Toys|Shoes|Electronics
Garage|Cinema|Stationery|Pizzeria|Butcher|Outdoor|Kitchen|Records|Bikes|Pet Shop|Boutique
""")

PAYMENTS = phrases("""
cash|card|credit card|debit card|Visa|Mastercard|PayPal|Apple Pay|contactless|voucher|gift card
American Express|bank transfer|Cash|Credit Card|Maestro|CASH|VISA|Google Pay
""")
