"""English words that tell what a statement is about."""

import re
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PETS: Final = _words(
    "dog puppy pup cat kitten kitty bunny rabbit hamster parrot bird fish horse pony turtle tortoise"
    " lizard snake"
    " gecko ferret retriever terrier shepherd poodle bulldog labrador lab husky dachshund beagle corgi"
    " pug pet hound"
    " collie chihuahua goat chicken pig iguana guinea"
)
FAMILY: Final = _words(
    "mother mom mum mama father dad papa parent brother sister sibling twin uncle aunt cousin grandmother"
    " grandfather"
    " grandma grandpa grandparent grandson granddaughter grandchild grandchildren grandkid son daughter"
    " kid child children"
    " baby toddler nephew niece family stepmother stepfather mother-in-law father-in-law in-law"
)
PARTNERS: Final = _words("wife husband spouse partner girlfriend boyfriend fiance fiancé fiancee fiancée")
FRIENDS: Final = _words("friend roommate buddy neighbor neighbour bestie")
WORK: Final = _words("job boss career company business work workplace coworker colleague office salary profession shop")
BODY: Final = _words(
    "hair eyes eye skin tattoo tattoos piercing freckles beard tall height weight foot feet inches glasses body"
)
HEALTH: Final = _words(
    "allergy allergies allergic asthma diabetes diabetic cancer anxiety depression depressed adhd autism"
    " autistic migraine"
    " insomnia disability disabled deaf blind surgery illness arthritis epilepsy wheelchair gluten"
    " intolerant injury"
    " pregnant sober addict addiction diagnosed ocd ptsd"
)
OCCUPATIONS: Final = _words(
    "nurse doctor lawyer attorney chef cook baker plumber carpenter electrician engineer programmer"
    " developer designer"
    " accountant architect artist musician singer writer author journalist editor photographer painter"
    " actor actress"
    " dancer model waiter waitress bartender barista cashier clerk secretary receptionist janitor cleaner"
    " maid nanny"
    " babysitter driver trucker pilot mechanic farmer rancher fisherman gardener florist librarian"
    " professor teacher tutor"
    " coach trainer scientist researcher biologist chemist physicist analyst consultant manager director"
    " executive"
    " entrepreneur salesman salesperson saleswoman realtor broker banker teller therapist psychologist"
    " counselor"
    " psychiatrist dentist veterinarian vet pharmacist surgeon paramedic firefighter policeman officer"
    " cop detective guard"
    " soldier marine veteran sailor technician welder machinist contractor builder stylist hairdresser"
    " barber beautician"
    " translator interpreter pastor priest nun minister politician judge paralegal ceo intern assistant"
    " supervisor"
    " administrator homemaker housewife househusband stay-at-home freelancer blogger youtuber streamer"
    " comedian producer"
    " instructor principal superintendent operator worker laborer courier mailman postman seamstress"
    " tailor jeweler"
    " landscaper exterminator undertaker mortician custodian hairstylist magician clown acrobat gymnast"
    " athlete boxer"
    " wrestler lifeguard caregiver caretaker dietitian nutritionist dj drummer guitarist pianist"
    " violinist bodyguard housekeeper practitioner agent dealer historian chauffeur mechanic optician midwife"
    " carer conductor reporter banker physiotherapist"
)

# The first word of a statement that is found here decides the sub-topic of `interest`.
_INTERESTS: Final[dict[str, str]] = {
    "foods": (
        "food foods eat eating pizza pasta sushi taco tacos burger burgers cheeseburger"
        " cheeseburgers steak chicken cheese chocolate cake cookie cookies dessert candy fruit"
        " vegetable vegetables salad soup bread meat bacon fries fry shawarma spaghetti lasagna"
        " seafood shrimp lobster noodles rice curry pie donut donuts pancakes waffles snack snacks"
        " breakfast lunch dinner restaurant restaurants cuisine ice-cream flavor flavour sandwich"
        " sandwiches barbecue bbq sweets apples bananas strawberries papaya avocado popcorn"
        " italian mexican thai chinese indian japanese spicy"
    ),
    "drinks": ("coffee tea beer wine drink drinks whiskey cocktails soda juice water milk smoothies drinking latte"),
    "cooking": "cook cooking bake baking recipe recipes grill grilling cookies-baking barbecuing",
    "music": (
        "music song songs band bands sing singing concert concerts guitar piano violin drums drum"
        " rap hip-hop jazz rock metal country pop classical album singer karaoke flute cello"
        " saxophone trumpet ukulele musical instrument rapper choir opera dj kpop punk blues"
        " beatles"
    ),
    "books": (
        "book books read reading novel novels author poetry poem poems comic comics fiction"
        " nonfiction manga library harry-potter biography biographies"
    ),
    "writing": "write writing blog journal journaling poetry-writing stories",
    "movies": (
        "movie movies film films cinema documentary documentaries horror hollywood disney marvel comedies actor"
    ),
    "tv": "tv television show shows netflix anime cartoon cartoons sitcom episode",
    "games": (
        "game games gaming videogames chess puzzle puzzles minecraft fortnite rpg rpgs nintendo"
        " xbox playstation cards poker dungeons crossword lego legos pokemon"
    ),
    "sports": (
        "sport sports soccer football basketball baseball softball tennis golf hockey volleyball"
        " swim swimming team olympics gymnastics cheerleading bowling skating skate skateboarding"
        " surf surfing ski skiing snowboarding boxing wrestling karate judo martial nascar nba nfl"
        " racing race rugby cricket lacrosse archery badminton snowboard athletic skydiving"
    ),
    "fitness": (
        "gym workout work-out yoga run running jog jogging marathon exercise fitness weights"
        " lifting crossfit pilates lift"
    ),
    "outdoors": (
        "hike hiking camp camping fish fishing hunt hunting garden gardening nature outdoors"
        " outdoor outside beach mountain mountains lake park walk walks walking bike biking"
        " bicycle climb climbing kayak kayaking canoe forest woods ocean sea river sailing sail"
        " boating boat flowers plants trees hikes birdwatching camper"
    ),
    "travel": (
        "travel traveling travelling trip trips vacation vacations country-visiting abroad europe"
        " cruise cruises roadtrip museums museum sightseeing"
    ),
    "arts": (
        "art arts paint painting paintings draw drawing sketch sketching photography photos"
        " crafts craft crafting knit knitting sew sewing crochet crocheting pottery sculpture"
        " dance dancing ballet theater theatre acting dancer coloring scrapbooking woodworking"
        " quilting"
    ),
    "animals": (
        "animal animals dog dogs cat cats horse horses bird birds wolf wolves zoo dolphin"
        " dolphins elephant elephants puppies kittens rabbits lizards snakes owls riding pets"
        " wildlife"
    ),
    "vehicles": (
        "car cars truck trucks motorcycle motorcycles motorbike jeep bmw ford honda toyota tesla"
        " drive driving vehicle van scooter harley"
    ),
    "fashion": (
        "clothes fashion shoes dress dresses shirt shirts makeup jewelry jeans leggings wear"
        " wearing wardrobe nails heels hats shopping"
    ),
    "colors": "color colors colour colours",
    "technology": (
        "computer computers technology programming coding code robots gadgets internet tech app apps electronics"
    ),
    "collections": "collect collecting collection antiques stamps coins vintage",
    "seasons": (
        "summer winter spring autumn fall season weather rain snow holiday holidays christmas"
        " halloween thanksgiving sunny"
    ),
    "learning": (
        "history science math maths biology physics astronomy philosophy language languages"
        " learning subject psychology space"
    ),
}
# Where a word stands under several sub-topics, the first counts.
INTERESTS: Final[dict[str, str]] = {
    word: sub_topic for sub_topic, words in reversed(_INTERESTS.items()) for word in words.split()
}

_WORD: Final = re.compile(r"[a-zé]+(?:-[a-z]+)*")


def words_of(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def has_any(words: list[str], lexicon: frozenset[str]) -> bool:
    """True where a word, or its singular, is in the lexicon."""
    return any(word in lexicon or word.removesuffix("s") in lexicon for word in words)


def interest_of(text: str) -> str | None:
    """The sub-topic of `interest` that the first telling word belongs to."""
    return next((INTERESTS[word] for word in words_of(text) if word in INTERESTS), None)
